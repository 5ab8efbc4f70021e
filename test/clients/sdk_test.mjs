// What people do with the AWS SDK for JavaScript, against the endpoint in $ENDPOINT.
import assert from "node:assert";
import { createHash, randomBytes } from "node:crypto";
import {
  CopyObjectCommand, CreateBucketCommand, DeleteBucketCommand, DeleteObjectsCommand, GetObjectAttributesCommand, GetObjectCommand,
  HeadObjectCommand, ListObjectsV2Command, PutObjectCommand, S3Client, paginateListObjectsV2,
} from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";

const Bucket = "sdk-js";
const large = Number(process.env.LARGE);
const s3 = new S3Client({ endpoint: process.env.ENDPOINT, region: "us-east-1", forcePathStyle: true });
const bytes = async (r) => Buffer.from(await r.Body.transformToByteArray());

await s3.send(new CreateBucketCommand({ Bucket }));
for (const size of [0, 1, 70_000, 6 << 20]) {
  const Body = randomBytes(size);
  const put = await s3.send(new PutObjectCommand({ Bucket, Key: `dir/${size}`, Body, Metadata: { color: "blue" } }));
  assert.equal(put.ETag, `"${createHash("md5").update(Body).digest("hex")}"`);
  const got = await s3.send(new GetObjectCommand({ Bucket, Key: `dir/${size}` }));
  assert.deepEqual(await bytes(got), Body);
  assert.equal(got.Metadata.color, "blue");
}

const block = randomBytes(1 << 20);
const Body = Buffer.concat(Array(Math.min(large, 256 << 20) >> 20).fill(block));
await new Upload({ client: s3, params: { Bucket, Key: "large", Body }, partSize: 8 << 20 }).done();
assert.deepEqual(await bytes(await s3.send(new GetObjectCommand({ Bucket, Key: "large" }))), Body);
const attributes = await s3.send(new GetObjectAttributesCommand({ Bucket, Key: "large", ObjectAttributes: ["ETag", "ObjectSize", "ObjectParts", "Checksum"] }));
assert.equal(attributes.ObjectSize, Body.length);
assert.ok(attributes.ObjectParts.TotalPartsCount > 1);

for (const ChecksumAlgorithm of ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"]) {
  await s3.send(new PutObjectCommand({ Bucket, Key: "sum/" + ChecksumAlgorithm, Body: "hello", ChecksumAlgorithm }));
  const head = await s3.send(new HeadObjectCommand({ Bucket, Key: "sum/" + ChecksumAlgorithm, ChecksumMode: "ENABLED" }));
  assert.ok(head["Checksum" + ChecksumAlgorithm], ChecksumAlgorithm);
}

const range = await s3.send(new GetObjectCommand({ Bucket, Key: "large", Range: "bytes=100-199" }));
assert.deepEqual(await bytes(range), Body.subarray(100, 200));
await s3.send(new CopyObjectCommand({ Bucket, Key: "copied", CopySource: `${Bucket}/dir/70000` }));
await assert.rejects(s3.send(new PutObjectCommand({ Bucket, Key: "copied", Body: "x", IfNoneMatch: "*" })), { name: "PreconditionFailed" });

const url = await getSignedUrl(s3, new GetObjectCommand({ Bucket, Key: "dir/1" }), { expiresIn: 60 });
assert.equal((await fetch(url)).status, 200);

let many = 0;
for await (const page of paginateListObjectsV2({ client: s3 }, { Bucket: "many" })) many += page.Contents.length;
assert.equal(many, Number(process.env.MANY));

const all = await s3.send(new ListObjectsV2Command({ Bucket }));
await s3.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects: all.Contents.map(({ Key }) => ({ Key })) } }));
await s3.send(new DeleteBucketCommand({ Bucket }));
console.log("ok");
