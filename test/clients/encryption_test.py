"""Server-side encryption with boto3, against the endpoint in $ENDPOINT, which has the master keys "first" and "second"."""

import base64
import hashlib
import io
import os
import urllib.request
import ssl

import boto3
import botocore.exceptions
from boto3.s3.transfer import TransferConfig
from botocore.config import Config

ENDPOINT = os.environ["ENDPOINT"]
BUCKET = "encryption-" + boto3.__version__.replace(".", "-")
s3 = boto3.client("s3", endpoint_url=ENDPOINT, config=Config(signature_version="s3v4", s3={"addressing_style": "path"}))


def refused(code, status, call, **kwargs):
    try:
        call(**kwargs)
    except botocore.exceptions.ClientError as e:
        got = e.response["Error"]["Code"], e.response["ResponseMetadata"]["HTTPStatusCode"]
        assert got == (code, status), f"{got}, want {code} {status}"
    else:
        raise AssertionError(f"accepted, want {code}")


def customer(key, prefix=""):
    return {prefix + "SSECustomerAlgorithm": "AES256", prefix + "SSECustomerKey": key}


ours, another = os.urandom(32), os.urandom(32)
kinds = {
    "SSE-C": (customer(ours), customer(ours), customer(ours, "CopySource"), {"SSECustomerAlgorithm": "AES256"}),
    "SSE-S3": ({"ServerSideEncryption": "AES256"}, {}, {}, {"ServerSideEncryption": "AES256"}),
    "SSE-KMS": (
        {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "second"},
        {},
        {},
        {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "arn:aws:kms:second"},
    ),
}
s3.create_bucket(Bucket=BUCKET)


def tells(answer, told, what):
    for name, value in told.items():
        assert answer[name] == value, f"{what}: {name} is {answer.get(name)}"


for kind, (write, read, source, told) in kinds.items():
    # Content of all sizes comes back as it went, in whole and in part.
    for size in (0, 1, 70_000, 6 << 20):
        content = os.urandom(size)
        put = s3.put_object(Bucket=BUCKET, Key="k", Body=content, Metadata={"a": "b"}, **write)
        tells(put, told, kind)
        assert (put["ETag"] == '"%s"' % hashlib.md5(content).hexdigest()) == (kind == "SSE-S3")
        got = s3.get_object(Bucket=BUCKET, Key="k", **read)
        tells(got, told, kind)
        assert got["Body"].read() == content and got["Metadata"] == {"a": "b"} and got["ETag"] == put["ETag"]
        head = s3.head_object(Bucket=BUCKET, Key="k", **read)
        tells(head, told, kind)
        assert head["ContentLength"] == size and head["ETag"] == put["ETag"]
        if size > 1:
            part = s3.get_object(Bucket=BUCKET, Key="k", Range=f"bytes=65530-{size - 2}", **read)["Body"].read()
            assert part == content[65530 : size - 1]
    # Uploads and downloads in parts, by the transfer manager.
    content = os.urandom(20 << 20)
    config = TransferConfig(multipart_threshold=5 << 20, multipart_chunksize=5 << 20)
    s3.upload_fileobj(io.BytesIO(content), BUCKET, "parts", ExtraArgs=write, Config=config)
    back = io.BytesIO()
    s3.download_fileobj(BUCKET, "parts", back, ExtraArgs=read, Config=config)
    assert back.getvalue() == content
    assert s3.list_objects_v2(Bucket=BUCKET, Prefix="parts")["Contents"][0]["Size"] == len(content)
    # Copies from and to every kind.
    for target, (to_write, to_read, _, to_told) in kinds.items():
        done = s3.copy_object(Bucket=BUCKET, Key="copy", CopySource={"Bucket": BUCKET, "Key": "parts"}, **source, **to_write)
        tells(done, to_told, f"{kind} to {target}")
        assert s3.get_object(Bucket=BUCKET, Key="copy", **to_read)["Body"].read() == content
        s3.copy({"Bucket": BUCKET, "Key": "parts"}, BUCKET, "copy", ExtraArgs={**source, **to_write}, Config=config)
        assert s3.get_object(Bucket=BUCKET, Key="copy", **to_read)["Body"].read() == content

# Keys that are missing or wrong.
s3.put_object(Bucket=BUCKET, Key="c", Body=b"content", **customer(ours))
refused("InvalidRequest", 400, s3.get_object, Bucket=BUCKET, Key="c")
refused("AccessDenied", 403, s3.get_object, Bucket=BUCKET, Key="c", **customer(another))
refused("400", 400, s3.head_object, Bucket=BUCKET, Key="c")
refused("403", 403, s3.head_object, Bucket=BUCKET, Key="c", **customer(another))
refused("InvalidArgument", 400, s3.put_object, Bucket=BUCKET, Key="x", Body=b"", **customer(b"short"))
refused("InvalidArgument", 400, s3.put_object, Bucket=BUCKET, Key="x", Body=b"", ServerSideEncryption="rubbish")
refused("KMS.NotFoundException", 400, s3.put_object, Bucket=BUCKET, Key="x", Body=b"", ServerSideEncryption="aws:kms", SSEKMSKeyId="third")

# A presigned URL needs the key in its headers.
url = s3.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": "c", **customer(ours)})
request = urllib.request.Request(url, headers={
    "x-amz-server-side-encryption-customer-algorithm": "AES256",
    "x-amz-server-side-encryption-customer-key": base64.b64encode(ours).decode(),
    "x-amz-server-side-encryption-customer-key-md5": base64.b64encode(hashlib.md5(ours).digest()).decode(),
})
trusted = ssl.create_default_context(cafile=os.environ["AWS_CA_BUNDLE"])
assert urllib.request.urlopen(request, context=trusted).read() == b"content"

# A bucket says how.
refused("ServerSideEncryptionConfigurationNotFoundError", 404, s3.get_bucket_encryption, Bucket=BUCKET)
rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "first"}, "BucketKeyEnabled": True}
s3.put_bucket_encryption(Bucket=BUCKET, ServerSideEncryptionConfiguration={"Rules": [rule]})
assert s3.get_bucket_encryption(Bucket=BUCKET)["ServerSideEncryptionConfiguration"]["Rules"] == [rule]
put = s3.put_object(Bucket=BUCKET, Key="k", Body=b"content")
tells(put, {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "arn:aws:kms:first", "BucketKeyEnabled": True}, "by default")
s3.delete_bucket_encryption(Bucket=BUCKET)
assert "ServerSideEncryption" not in s3.put_object(Bucket=BUCKET, Key="k", Body=b"content")
