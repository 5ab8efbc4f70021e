"""What Terraform does to buckets, and a backup program to locked ones, with boto3 against the endpoint in $ENDPOINT."""

import base64
import datetime
import hashlib
import json
import os

import boto3
import botocore.exceptions
from botocore.config import Config

s3 = boto3.client(
    "s3", endpoint_url=os.environ["ENDPOINT"], config=Config(signature_version="s3v4", s3={"addressing_style": "path"}, retries={"max_attempts": 1})
)


def refused(code, status, call, **kwargs):
    try:
        answer = call(**kwargs)
    except botocore.exceptions.ClientError as e:
        got = e.response["Error"]["Code"], e.response["ResponseMetadata"]["HTTPStatusCode"]
        assert got == (code, status), f"{call.__name__}: {got}, want {code} {status}"
    else:
        raise AssertionError(f"{call.__name__} is answered {answer}, want {code}")


def body(answer):
    return {k: v for k, v in answer.items() if k != "ResponseMetadata"}


# A resource of Terraform's is read before it is made, put, read, put once more as it is, and removed. What is read
# must be what was put, or a plan never comes to rest.
POLICY = {
    "Version": "2012-10-17",
    "Statement": [{"Sid": "read", "Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::settings/public/*"}],
}
RULE = {
    "ID": "old",
    "Status": "Enabled",
    "Filter": {"And": {"Prefix": "logs/", "Tags": [{"Key": "a", "Value": "b"}], "ObjectSizeGreaterThan": 10}},
    "Expiration": {"Days": 30},
    "NoncurrentVersionExpiration": {"NoncurrentDays": 5, "NewerNoncurrentVersions": 2},
}
UPLOADS = {"ID": "uploads", "Status": "Enabled", "Filter": {"Prefix": ""}, "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7}}
SETTINGS = [
    # what is put, how it is read, what that answers before there is one, and how it is removed
    ("versioning", {"VersioningConfiguration": {"Status": "Enabled"}}, {}, lambda got: got, {"Status": "Enabled"}, None),
    ("lifecycle_configuration", {"LifecycleConfiguration": {"Rules": [RULE, UPLOADS]}}, "NoSuchLifecycleConfiguration", lambda got: got["Rules"], [RULE, UPLOADS], "delete_bucket_lifecycle"),
    ("policy", {"Policy": json.dumps(POLICY)}, "NoSuchBucketPolicy", lambda got: json.loads(got["Policy"]), POLICY, "delete_bucket_policy"),
    ("tagging", {"Tagging": {"TagSet": [{"Key": "team", "Value": "a b"}, {"Key": "x", "Value": ""}]}}, "NoSuchTagSet", lambda got: got["TagSet"], [{"Key": "team", "Value": "a b"}, {"Key": "x", "Value": ""}], "delete_bucket_tagging"),
    ("cors", {"CORSConfiguration": {"CORSRules": [{"AllowedMethods": ["GET", "PUT"], "AllowedOrigins": ["https://*.example.com"], "AllowedHeaders": ["*"], "ExposeHeaders": ["ETag"], "MaxAgeSeconds": 60}]}},
     "NoSuchCORSConfiguration", lambda got: got["CORSRules"], [{"AllowedMethods": ["GET", "PUT"], "AllowedOrigins": ["https://*.example.com"], "AllowedHeaders": ["*"], "ExposeHeaders": ["ETag"], "MaxAgeSeconds": 60}], "delete_bucket_cors"),
    ("website", {"WebsiteConfiguration": {"IndexDocument": {"Suffix": "index.html"}, "ErrorDocument": {"Key": "error.html"}}}, "NoSuchWebsiteConfiguration", lambda got: got, {"IndexDocument": {"Suffix": "index.html"}, "ErrorDocument": {"Key": "error.html"}}, "delete_bucket_website"),
    ("public_access_block", {"PublicAccessBlockConfiguration": {"BlockPublicAcls": True, "IgnorePublicAcls": True, "BlockPublicPolicy": False, "RestrictPublicBuckets": False}}, "NoSuchPublicAccessBlockConfiguration",
     lambda got: got["PublicAccessBlockConfiguration"], {"BlockPublicAcls": True, "IgnorePublicAcls": True, "BlockPublicPolicy": False, "RestrictPublicBuckets": False}, "delete_public_access_block"),
    ("ownership_controls", {"OwnershipControls": {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}}, None, lambda got: got["OwnershipControls"]["Rules"], [{"ObjectOwnership": "BucketOwnerEnforced"}], None),
]


def settings():
    bucket = "settings"
    s3.create_bucket(Bucket=bucket)
    for name, put, before, part, want, remove in SETTINGS:
        middle = "" if name == "public_access_block" else "bucket_"
        get = getattr(s3, "get_" + middle + name)
        if isinstance(before, str):
            refused(before, 404, get, Bucket=bucket)
        elif before is not None:
            assert body(get(Bucket=bucket)) == before, f"{name} of a new bucket: {body(get(Bucket=bucket))}"
        for _ in range(2):
            getattr(s3, "put_" + middle + name)(Bucket=bucket, **put)
            got = part(body(get(Bucket=bucket)))
            assert got == want, f"{name}: {got}, want {want}"
        if remove:
            for _ in range(2):  # to remove what is not there is no error
                getattr(s3, remove)(Bucket=bucket)
            refused(before, 404, get, Bucket=bucket)


def defaults():
    """What Terraform reads of every bucket, whether or not somebody has set it."""
    bucket = "defaults"
    s3.create_bucket(Bucket=bucket)
    assert body(s3.get_bucket_accelerate_configuration(Bucket=bucket)) == {}
    assert body(s3.get_bucket_logging(Bucket=bucket)) == {}
    assert body(s3.get_bucket_notification_configuration(Bucket=bucket)) == {}
    assert body(s3.get_bucket_request_payment(Bucket=bucket)) == {"Payer": "BucketOwner"}
    grants = s3.get_bucket_acl(Bucket=bucket)["Grants"]
    assert [g["Permission"] for g in grants] == ["FULL_CONTROL"], grants
    refused("ReplicationConfigurationNotFoundError", 404, s3.get_bucket_replication, Bucket=bucket)
    refused("ObjectLockConfigurationNotFoundError", 404, s3.get_object_lock_configuration, Bucket=bucket)
    # What is set to what is so anyway is taken.
    s3.put_bucket_request_payment(Bucket=bucket, RequestPaymentConfiguration={"Payer": "BucketOwner"})
    s3.put_bucket_acl(Bucket=bucket, ACL="private")
    s3.delete_bucket(Bucket=bucket)


def soon(days):
    return datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0) + datetime.timedelta(days=days)


def upload(bucket, key, parts, until):
    up = s3.create_multipart_upload(Bucket=bucket, Key=key, ObjectLockMode="COMPLIANCE", ObjectLockRetainUntilDate=until)
    done = []
    for n, content in enumerate(parts, 1):
        md5 = base64.b64encode(hashlib.md5(content).digest()).decode()
        part = s3.upload_part(Bucket=bucket, Key=key, UploadId=up["UploadId"], PartNumber=n, Body=content, ContentMD5=md5)
        done.append({"PartNumber": n, "ETag": part["ETag"]})
    return s3.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=up["UploadId"], MultipartUpload={"Parts": done})["VersionId"]


def immutability():
    """A backup program keeps its blocks from everybody, itself included, and extends that while a restore point lives."""
    bucket = "immutable"
    s3.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    assert s3.get_object_lock_configuration(Bucket=bucket)["ObjectLockConfiguration"] == {"ObjectLockEnabled": "Enabled"}
    refused("InvalidBucketState", 409, s3.put_bucket_versioning, Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})

    until, content = soon(10), os.urandom(6 << 20)
    block = upload(bucket, "backup/block", [content[: 5 << 20], content[5 << 20 :]], until)
    head = s3.head_object(Bucket=bucket, Key="backup/block")
    assert (head["ObjectLockMode"], head["ObjectLockRetainUntilDate"], head["VersionId"]) == ("COMPLIANCE", until, block), head
    assert s3.get_object(Bucket=bucket, Key="backup/block", VersionId=block)["Body"].read() == content

    later = soon(20)
    kept = {"Mode": "COMPLIANCE", "RetainUntilDate": later}
    for _ in range(2):
        s3.put_object_retention(Bucket=bucket, Key="backup/block", VersionId=block, Retention=kept)
    assert s3.get_object_retention(Bucket=bucket, Key="backup/block", VersionId=block)["Retention"] == kept
    for worse in ({"Mode": "COMPLIANCE", "RetainUntilDate": soon(5)}, {"Mode": "GOVERNANCE", "RetainUntilDate": later}):
        refused("AccessDenied", 403, s3.put_object_retention, Bucket=bucket, Key="backup/block", VersionId=block, Retention=worse, BypassGovernanceRetention=True)

    refused("AccessDenied", 403, s3.delete_object, Bucket=bucket, Key="backup/block", VersionId=block, BypassGovernanceRetention=True)
    several = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "backup/block", "VersionId": block}, {"Key": "backup/none"}]})
    assert [e["Code"] for e in several["Errors"]] == ["AccessDenied"], several
    marker = s3.delete_object(Bucket=bucket, Key="backup/block")
    assert marker["DeleteMarker"] and marker["VersionId"] != block
    refused("404", 404, s3.head_object, Bucket=bucket, Key="backup/block")
    assert s3.get_object(Bucket=bucket, Key="backup/block", VersionId=block)["Body"].read() == content
    s3.delete_object(Bucket=bucket, Key="backup/block", VersionId=marker["VersionId"])
    assert s3.head_object(Bucket=bucket, Key="backup/block")["VersionId"] == block

    second = s3.put_object(Bucket=bucket, Key="backup/block", Body=b"overwritten")["VersionId"]
    versions = s3.list_object_versions(Bucket=bucket, Prefix="backup/block")["Versions"]
    assert [v["VersionId"] for v in versions] == [second, block], versions

    s3.put_object_legal_hold(Bucket=bucket, Key="backup/block", VersionId=second, LegalHold={"Status": "ON"})
    refused("AccessDenied", 403, s3.delete_object, Bucket=bucket, Key="backup/block", VersionId=second, BypassGovernanceRetention=True)
    s3.put_object_legal_hold(Bucket=bucket, Key="backup/block", VersionId=second, LegalHold={"Status": "OFF"})
    s3.delete_object(Bucket=bucket, Key="backup/block", VersionId=second)

    rule = {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 3}}}
    for _ in range(2):
        s3.put_object_lock_configuration(Bucket=bucket, ObjectLockConfiguration=rule)
        assert s3.get_object_lock_configuration(Bucket=bucket)["ObjectLockConfiguration"] == rule
    governed = s3.put_object(Bucket=bucket, Key="governed", Body=b"x")["VersionId"]
    assert s3.get_object_retention(Bucket=bucket, Key="governed")["Retention"]["Mode"] == "GOVERNANCE"
    refused("AccessDenied", 403, s3.delete_object, Bucket=bucket, Key="governed", VersionId=governed)
    s3.delete_object(Bucket=bucket, Key="governed", VersionId=governed, BypassGovernanceRetention=True)
    refused("InvalidRequest", 400, s3.put_object_retention, Bucket="settings", Key="none", Retention=kept)
    refused("BucketNotEmpty", 409, s3.delete_bucket, Bucket=bucket)


settings()
defaults()
immutability()
