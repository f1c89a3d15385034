# A first shadow test, with R's paws.
#
# With Gnomon running, in a shell (in R: install.packages("paws.machine.learning")):
#
#     eval "$(gnomon env)"
#     Rscript examples/first_shadow_test.R
#
# It does what first_shadow_test.py does: of two small models, which read a flight's delay and say
# whether it will arrive late, one is tried in the other's shadow and promoted. The exit status is 0
# only if everything held.

requests <- 100
image <- "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3"
role <- "arn:aws:iam::000000000000:role/ShadowTest"
handler <- '
import pathlib

def model_fn(model_dir):
    return float(pathlib.Path(model_dir, "late_above").read_text())

def input_fn(body, content_type):
    return float(body)

def predict_fn(delay, late_above):
    return "late" if delay > late_above else "on time"

def output_fn(label, accept):
    return label, "text/csv"
'

url <- Sys.getenv("AWS_ENDPOINT_URL_SAGEMAKER")
if (url == "") {
  # Without an endpoint paws would call AWS.
  stop("No endpoint URL is set. Run eval \"$(gnomon env)\" first.", call. = FALSE)
}
region <- Sys.getenv("AWS_REGION")
sagemaker <- paws.machine.learning::sagemaker(endpoint = url, region = region)
runtime <- paws.machine.learning::sagemakerruntime(endpoint = url, region = region)

# A name of its own for each run.
name <- sprintf("r-%.0f", as.numeric(Sys.time()))
work <- tempfile("first-shadow-test-")

check <- function(holds, what) {
  cat(if (holds) "  yes " else "  NO  ", what, "\n")
  if (!holds) stop("This did not hold: ", what, call. = FALSE)
}

# Writes a model.tar.gz; returns its URL.
pack_model <- function(variant, late_above) {
  directory <- file.path(work, variant)
  dir.create(file.path(directory, "code"), recursive = TRUE)
  writeLines(handler, file.path(directory, "code", "inference.py"))
  writeLines(as.character(late_above), file.path(directory, "late_above"))
  archive <- paste0(directory, ".tar.gz")
  stopifnot(system2("tar", c("-czf", archive, "-C", directory, ".")) == 0)
  paste0("file://", archive)
}

# What the endpoint answers, and which variant said it.
invoke <- function(delay) {
  answer <- runtime$invoke_endpoint(
    EndpointName = name,
    Body = charToRaw(as.character(delay)),
    ContentType = "text/csv",
    Accept = "text/csv"
  )
  c(rawToChar(answer$Body), answer$InvokedProductionVariant)
}

# Calls `status` until it is the one wanted, for a minute at most.
wait_for <- function(wanted, status) {
  for (look in 1:240) {
    found <- status()
    if (isTRUE(found == wanted)) {
      return(invisible(found))
    }
    Sys.sleep(0.25)
  }
  stop("The status is ", found, ", not ", wanted, ".", call. = FALSE)
}

endpoint_status <- function() sagemaker$describe_endpoint(EndpointName = name)$EndpointStatus
experiment_status <- function() sagemaker$describe_inference_experiment(Name = name)$Status

# What an error says; NULL if there was none.
refused <- function(call) tryCatch({ call; NULL }, error = conditionMessage)

model_variant <- function(variant) {
  list(
    ModelName = paste0(name, "-", variant),
    VariantName = variant,
    InfrastructureConfig = list(
      InfrastructureType = "RealTimeInference",
      RealTimeInferenceConfig = list(InstanceType = "ml.m5.large", InstanceCount = 1)
    )
  )
}

shadow_mode <- function(percentage) {
  list(
    SourceModelVariantName = "production",
    ShadowModelVariants = list(
      list(ShadowModelVariantName = "shadow", SamplingPercentage = percentage)
    )
  )
}

cat("Production: a model, a configuration and an endpoint.\n")
late_above <- c(production = 15, shadow = 10)
for (variant in names(late_above)) {
  sagemaker$create_model(
    ModelName = paste0(name, "-", variant),
    ExecutionRoleArn = role,
    PrimaryContainer = list(
      Image = image,
      ModelDataUrl = pack_model(variant, late_above[[variant]])
    )
  )
}
sagemaker$create_endpoint_config(
  EndpointConfigName = name,
  ProductionVariants = list(
    list(
      VariantName = "production",
      ModelName = paste0(name, "-production"),
      InstanceType = "ml.m5.large",
      InitialInstanceCount = 1
    )
  )
)
sagemaker$create_endpoint(EndpointName = name, EndpointConfigName = name)
wait_for("InService", endpoint_status)
check(identical(invoke(12), c("on time", "production")), "the endpoint answers from production")

cat("The shadow test: every parameter of the operation but the two KMS keys.\n")
created <- sagemaker$create_inference_experiment(
  Name = name,
  Type = "ShadowMode",
  Schedule = list(StartTime = Sys.time() + 3600, EndTime = Sys.time() + 7200),
  Description = "Is a lower threshold better?",
  RoleArn = role,
  EndpointName = name,
  ModelVariants = list(model_variant("production"), model_variant("shadow")),
  DataStorageConfig = list(
    Destination = "s3://captures/first-shadow-test",
    ContentType = list(
      CsvContentTypes = list("text/csv"),
      JsonContentTypes = list("application/json")
    )
  ),
  ShadowModeConfig = shadow_mode(50),
  Tags = list(list(Key = "project", Value = "first-shadow-test"))
)
wait_for("Created", experiment_status)
tags <- sagemaker$list_tags(ResourceArn = created$InferenceExperimentArn)$Tags
check(tags[[1]]$Value == "first-shadow-test", "the tag is there")
sagemaker$update_inference_experiment(
  Name = name,
  Description = "Is a lower threshold much better?",
  ShadowModeConfig = shadow_mode(100)
)
wait_for("Created", experiment_status)
listed <- sagemaker$list_inference_experiments(
  NameContains = name, StatusEquals = "Created"
)$InferenceExperiments
check(length(listed) == 1 && listed[[1]]$Name == name, "the test is listed")

cat("It is started before its time.\n")
sagemaker$start_inference_experiment(Name = name)
wait_for("Running", experiment_status)
said <- refused(sagemaker$delete_inference_experiment(Name = name))
check(is.character(said) && nzchar(said), "a test that runs is not deleted")
for (number in seq_len(requests)) {
  delay <- number %% 20
  expected <- c(if (delay > 15) "late" else "on time", "production")
  if (!identical(invoke(delay), expected)) stop("A delay of ", delay, " was not ", expected[[1]])
}
check(TRUE, paste("all", requests, "answers are production's"))

cat("The end: the shadow is promoted.\n")
sagemaker$stop_inference_experiment(
  Name = name,
  ModelVariantActions = list(production = "Remove", shadow = "Promote"),
  DesiredState = "Completed",
  Reason = "The lower threshold is better."
)
wait_for("Completed", experiment_status)
check(identical(invoke(12), c("late", "shadow")), "the endpoint answers from the promoted variant")

sagemaker$delete_endpoint(EndpointName = name)
wait_for(TRUE, function() {
  gone <- refused(endpoint_status())
  is.character(gone) && grepl("Could not find endpoint", gone, fixed = TRUE)
})
sagemaker$delete_inference_experiment(Name = name)
sagemaker$delete_endpoint_config(EndpointConfigName = name)
for (variant in names(late_above)) {
  sagemaker$delete_model(ModelName = paste0(name, "-", variant))
}
unlink(work, recursive = TRUE)
