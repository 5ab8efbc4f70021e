"""Temporary credentials with boto3: made at the first of ENDPOINTS, used at all."""

import json
import os

import boto3
from botocore.exceptions import ClientError

endpoints = os.environ["ENDPOINTS"].split(",")
policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::bucket/*"}]}
sts = boto3.client("sts", endpoint_url=endpoints[0])
made = sts.assume_role(RoleArn="arn:aws:iam::000000000000:role/any", RoleSessionName="job", DurationSeconds=900, Policy=json.dumps(policy))
credentials = made["Credentials"]
assert made["AssumedRoleUser"]["Arn"].endswith("/ann/job"), made
keys = {
    "aws_access_key_id": credentials["AccessKeyId"],
    "aws_secret_access_key": credentials["SecretAccessKey"],
    "aws_session_token": credentials["SessionToken"],
}
for endpoint in endpoints:
    s3 = boto3.client("s3", endpoint_url=endpoint, **keys)
    assert s3.get_object(Bucket="bucket", Key="k")["Body"].read() == b"content"
    try:
        s3.put_object(Bucket="bucket", Key="new", Body=b"x")
        raise SystemExit("the session policy does not bind")
    except ClientError as e:
        assert e.response["Error"]["Code"] == "AccessDenied", e.response
    who = boto3.client("sts", endpoint_url=endpoint, **keys).get_caller_identity()
    assert who["UserId"] == "ann:job", who
try:
    sts.assume_role(RoleArn="arn:aws:iam::000000000000:role/any", RoleSessionName="job", Policy="{")
    raise SystemExit("a broken policy is taken")
except ClientError as e:
    assert e.response["Error"]["Code"] == "MalformedPolicyDocument", e.response
