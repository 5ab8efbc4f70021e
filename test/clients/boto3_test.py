"""What people do with boto3, against the endpoint in $ENDPOINT."""

import hashlib
import io
import os
import urllib.request

import boto3
import botocore.exceptions
from boto3.s3.transfer import TransferConfig
from botocore.config import Config

ENDPOINT, MANY, LARGE = os.environ["ENDPOINT"], int(os.environ["MANY"]), int(os.environ["LARGE"])
BUCKET = "boto-" + boto3.__version__.replace(".", "-")
s3 = boto3.client("s3", endpoint_url=ENDPOINT, config=Config(s3={"addressing_style": "path"}))


def refused(code, call, **kwargs):
    try:
        call(**kwargs)
    except botocore.exceptions.ClientError as e:
        got = e.response["Error"]["Code"]
        assert got in (code if isinstance(code, tuple) else (code,)), f"{got}, want {code}"
    else:
        raise AssertionError(f"accepted, want {code}")


s3.create_bucket(Bucket=BUCKET)
refused("BucketAlreadyOwnedByYou", s3.create_bucket, Bucket=BUCKET)
assert BUCKET in [b["Name"] for b in s3.list_buckets()["Buckets"]]

# Content of all sizes comes back as it went, with MD5 as ETag.
for size in (0, 1, 70_000, 6 << 20):
    content = os.urandom(size)
    put = s3.put_object(Bucket=BUCKET, Key=f"dir/{size}", Body=content, Metadata={"color": "blue"}, ContentType="text/x-test")
    assert put["ETag"] == '"%s"' % hashlib.md5(content).hexdigest()
    got = s3.get_object(Bucket=BUCKET, Key=f"dir/{size}")
    assert got["Body"].read() == content
    assert got["Metadata"] == {"color": "blue"} and got["ContentType"] == "text/x-test"
    assert s3.head_object(Bucket=BUCKET, Key=f"dir/{size}")["ContentLength"] == size

# Multipart by the transfer manager.
content = os.urandom(1 << 20) * (LARGE >> 20)
s3.upload_fileobj(io.BytesIO(content), BUCKET, "large", Config=TransferConfig(multipart_threshold=8 << 20, multipart_chunksize=8 << 20))
back = io.BytesIO()
s3.download_fileobj(BUCKET, "large", back)
assert back.getvalue() == content
assert "-" in s3.head_object(Bucket=BUCKET, Key="large")["ETag"]
assert s3.get_object(Bucket=BUCKET, Key="large", PartNumber=2)["Body"].read() == content[8 << 20 : 16 << 20]

# Ranges.
content = os.urandom(1000)
s3.put_object(Bucket=BUCKET, Key="r", Body=content)
for spec, want in (("bytes=0-9", content[:10]), ("bytes=990-", content[990:]), ("bytes=-5", content[-5:])):
    got = s3.get_object(Bucket=BUCKET, Key="r", Range=spec)
    assert got["Body"].read() == want and got["ResponseMetadata"]["HTTPStatusCode"] == 206
refused("InvalidRange", s3.get_object, Bucket=BUCKET, Key="r", Range="bytes=1000-")

# Conditions.
refused("PreconditionFailed", s3.get_object, Bucket=BUCKET, Key="r", IfMatch='"x"')
refused("304", s3.get_object, Bucket=BUCKET, Key="r", IfNoneMatch=s3.head_object(Bucket=BUCKET, Key="r")["ETag"])
refused(("NoSuchKey", "404"), s3.get_object, Bucket=BUCKET, Key="none")
refused(("NoSuchBucket", "404"), s3.list_objects_v2, Bucket="no-such-bucket")

# Keys of every shape.
for key in ("a", "a/b", "a//b", "a/", "./x", "../y", "ü/日本", "with space+plus", "=e=%41", "x" * 600, "q?&=#%"):
    s3.put_object(Bucket=BUCKET, Key="odd/" + key, Body=key.encode())
    assert s3.get_object(Bucket=BUCKET, Key="odd/" + key)["Body"].read() == key.encode(), key
listed = [o["Key"] for o in s3.list_objects_v2(Bucket=BUCKET, Prefix="odd/")["Contents"]]
assert len(listed) == 11 and listed == sorted(listed, key=str.encode), listed

# Copies.
s3.copy_object(Bucket=BUCKET, Key="copy", CopySource={"Bucket": BUCKET, "Key": "odd/with space+plus"})
assert s3.get_object(Bucket=BUCKET, Key="copy")["Body"].read() == b"with space+plus"
s3.copy_object(Bucket=BUCKET, Key="copy", CopySource=f"{BUCKET}/copy", MetadataDirective="REPLACE", Metadata={"n": "1"})
assert s3.head_object(Bucket=BUCKET, Key="copy")["Metadata"] == {"n": "1"}

# Tags.
s3.put_object_tagging(Bucket=BUCKET, Key="copy", Tagging={"TagSet": [{"Key": "a", "Value": "1"}]})
assert s3.get_object_tagging(Bucket=BUCKET, Key="copy")["TagSet"] == [{"Key": "a", "Value": "1"}]
s3.delete_object_tagging(Bucket=BUCKET, Key="copy")
assert s3.get_object_tagging(Bucket=BUCKET, Key="copy")["TagSet"] == []

# Presigned URLs, of version 2 as boto3 makes them unless it is told otherwise, and of version 4. urllib would name a
# content type of its own, which version 2 signs.
v4 = boto3.client("s3", endpoint_url=ENDPOINT, config=Config(signature_version="s3v4", s3={"addressing_style": "path"}))
for signer in s3, v4:
    url = signer.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": "r", "ResponseContentType": "text/x"})
    answer = urllib.request.urlopen(url)
    assert answer.read() == content and answer.headers["Content-Type"] == "text/x"
    url = signer.generate_presigned_url("put_object", Params={"Bucket": BUCKET, "Key": "signed"})
    urllib.request.urlopen(urllib.request.Request(url, data=b"by url", method="PUT", headers={"Content-Type": ""}))
    assert s3.get_object(Bucket=BUCKET, Key="signed")["Body"].read() == b"by url"

# A browser's form.
post = s3.generate_presigned_post(BUCKET, "form/${filename}", Conditions=[["content-length-range", 1, 100]])
boundary = "x" * 20
form = b"".join(
    b'--%s\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % (boundary.encode(), k.encode(), v.encode()) for k, v in post["fields"].items()
) + b'--%s\r\nContent-Disposition: form-data; name="file"; filename="f.txt"\r\n\r\nfrom a form\r\n--%s--\r\n' % (boundary.encode(), boundary.encode())
request = urllib.request.Request(post["url"], data=form, headers={"Content-Type": "multipart/form-data; boundary=" + boundary})
assert urllib.request.urlopen(request).status == 204
assert s3.get_object(Bucket=BUCKET, Key="form/f.txt")["Body"].read() == b"from a form"

# Listings longer than a page, in order, and by folder.
pages = s3.get_paginator("list_objects_v2").paginate(Bucket="many")
keys = [o["Key"] for p in pages for o in p["Contents"]]
assert len(keys) == MANY and keys == sorted(keys)
keys = [o["Key"] for p in s3.get_paginator("list_objects").paginate(Bucket="many") for o in p["Contents"]]
assert len(keys) == MANY
folders = s3.list_objects_v2(Bucket=BUCKET, Delimiter="/")
assert [p["Prefix"] for p in folders["CommonPrefixes"]] == ["dir/", "form/", "odd/"]

# Deletes, one and many.
s3.delete_object(Bucket=BUCKET, Key="copy")
refused("BucketNotEmpty", s3.delete_bucket, Bucket=BUCKET)
for page in s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET):
    deleted = s3.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": o["Key"]} for o in page["Contents"]]})
    assert "Errors" not in deleted, deleted["Errors"]
s3.delete_bucket(Bucket=BUCKET)
print("boto3", boto3.__version__, "ok")
