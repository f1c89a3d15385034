import pytest

from gnomon.objects.url import ObjectUrl, ObjectUrlInvalid, join, parse_object, parse_prefix


@pytest.mark.parametrize(
    ("url", "bucket", "key"),
    [
        ("s3://bucket/model.tar.gz", "bucket", "model.tar.gz"),
        ("s3://a.b-c1/x y/é/..z", "a.b-c1", "x y/é/..z"),
    ],
)
def test_an_object_has_a_bucket_and_a_key(url, bucket, key):
    assert parse_object(url) == ObjectUrl(bucket, key)
    assert str(parse_object(url)) == url


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "does not start with s3://"),
        ("https://bucket/key", "does not start with s3://"),
        ("S3://bucket/key", "does not start with s3://"),
        ("s3://", "bucket is empty"),
        ("s3:///key", "bucket is empty"),
        ("s3://..", "bucket's name"),
        ("s3://a..b/key", "bucket's name"),
        ("s3://Bucket/key", "bucket's name"),
        ("s3://bu/key", "bucket's name"),
        ("s3://bucket/../etc/passwd", "part '..'"),
        ("s3://bucket/a/./b", "part '.'"),
        ("s3://bucket/a//b", "part ''"),
        ("s3://bucket//a", "part ''"),
        ("s3://bucket/a\x00b", "cannot be printed"),
        ("s3://bucket/a\nb", "cannot be printed"),
        ("s3://bucket/" + "é" * 600, "longer than 1024 bytes"),
    ],
)
def test_a_url_that_names_nothing_says_why(url, reason):
    for parse in (parse_object, parse_prefix):
        with pytest.raises(ObjectUrlInvalid) as caught:
            parse(url)
        assert reason in str(caught.value)
        assert caught.value.url == url


@pytest.mark.parametrize("url", ["s3://bucket", "s3://bucket/", "s3://bucket/folder/"])
def test_a_folder_is_no_object(url):
    with pytest.raises(ObjectUrlInvalid):
        parse_object(url)


@pytest.mark.parametrize("url", ["s3://bucket/a/b", "s3://bucket/a/b/"])
def test_a_slash_at_the_end_of_a_folder_does_not_matter(url):
    assert parse_prefix(url) == ObjectUrl("bucket", "a/b")
    assert join(url, "c/d") == "s3://bucket/a/b/c/d"


def test_a_bucket_alone_is_a_prefix():
    assert parse_prefix("s3://bucket") == ObjectUrl("bucket", "")
