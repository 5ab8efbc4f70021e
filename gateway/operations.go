package gateway

import (
	"context"

	"github.com/shoal-storage/shoal/internal/lifecycle"
)

// level says what an operation is about.
type level uint8

const (
	service level = iota
	bucketLevel
	objectLevel
)

// resourceType is what S3 calls it where a method is not allowed.
func (l level) resourceType() string {
	return [...]string{service: "SERVICE", bucketLevel: "BUCKET", objectLevel: "OBJECT"}[l]
}

// class says how long an operation may take.
type class uint8

const (
	quick   class = iota // metadata: a fixed time
	listing              // reading directories: a longer fixed time
	data                 // moving a body: as long as it makes progress
	long                 // moving data inside the store: bounded, but generously
)

// handler carries out an operation and sets the answer, or returns an error.
type handler func(s *Server, ctx context.Context, r *request) error

// operation is one row of the operation table: everything the gateway needs to
// know of an S3 operation. Name also names it in metrics and in the log.
type operation struct {
	name   string
	level  level
	method string
	query  string // parameter that tells it from others of the method, or ""
	header string // header that does, or ""
	action string // IAM action
	class  class
	handle handler
}

// open is the action of what anybody may ask.
const open = ""

// operations is the operation table. Of the rows that fit a request the first
// is taken, so those with a query or header stand before those without.
func operations() []*operation {
	return []*operation{
		{"ListenNotification", service, "GET", "events", "", "s3:ListenNotification", quick, (*Server).listen},
		{"SecurityToken", service, "POST", "", "", open, quick, (*Server).securityToken},
		{"ListBuckets", service, "GET", "", "", "s3:ListAllMyBuckets", listing, (*Server).listBuckets},

		{"GetBucketLocation", bucketLevel, "GET", "location", "", "s3:GetBucketLocation", quick, (*Server).getBucketLocation},
		{"GetBucketTagging", bucketLevel, "GET", "tagging", "", "s3:GetBucketTagging", quick, (*Server).getBucketTagging},
		{"PutBucketTagging", bucketLevel, "PUT", "tagging", "", "s3:PutBucketTagging", quick, (*Server).putBucketTagging},
		{"DeleteBucketTagging", bucketLevel, "DELETE", "tagging", "", "s3:PutBucketTagging", quick, (*Server).deleteBucketTagging},
		{"GetBucketVersioning", bucketLevel, "GET", "versioning", "", "s3:GetBucketVersioning", quick, (*Server).getBucketVersioning},
		{"PutBucketVersioning", bucketLevel, "PUT", "versioning", "", "s3:PutBucketVersioning", quick, (*Server).putBucketVersioning},
		{"GetBucketAcl", bucketLevel, "GET", "acl", "", "s3:GetBucketAcl", quick, (*Server).getACL},
		{"PutBucketAcl", bucketLevel, "PUT", "acl", "", "s3:PutBucketAcl", quick, (*Server).putACL},
		{"GetBucketOwnershipControls", bucketLevel, "GET", "ownershipControls", "", "s3:GetBucketOwnershipControls", quick, (*Server).getOwnershipControls},
		{"PutBucketOwnershipControls", bucketLevel, "PUT", "ownershipControls", "", "s3:PutBucketOwnershipControls", quick, (*Server).putOwnershipControls},
		{"DeleteBucketOwnershipControls", bucketLevel, "DELETE", "ownershipControls", "", "s3:PutBucketOwnershipControls", quick, (*Server).deleteOwnershipControls},
		{"GetBucketRequestPayment", bucketLevel, "GET", "requestPayment", "", "s3:GetBucketRequestPayment", quick, (*Server).getRequestPayment},
		{"PutBucketRequestPayment", bucketLevel, "PUT", "requestPayment", "", "s3:PutBucketRequestPayment", quick, putFixed("Requester Pays buckets are not supported.", requestPayment)},
		{"GetBucketAccelerateConfiguration", bucketLevel, "GET", "accelerate", "", "s3:GetAccelerateConfiguration", quick, emptyDocument("AccelerateConfiguration")},
		{"PutBucketAccelerateConfiguration", bucketLevel, "PUT", "accelerate", "", "s3:PutAccelerateConfiguration", quick, putFixed("Transfer acceleration is not supported.", acceleration)},
		{"GetBucketLogging", bucketLevel, "GET", "logging", "", "s3:GetBucketLogging", quick, emptyDocument("BucketLoggingStatus")},
		{"PutBucketLogging", bucketLevel, "PUT", "logging", "", "s3:PutBucketLogging", quick, putFixed("Server access logging to buckets is not supported.", logging)},
		{"GetBucketNotificationConfiguration", bucketLevel, "GET", "notification", "", "s3:GetBucketNotification", quick, (*Server).getNotification},
		{"PutBucketNotificationConfiguration", bucketLevel, "PUT", "notification", "", "s3:PutBucketNotification", quick, (*Server).putNotification},
		{"GetBucketPolicy", bucketLevel, "GET", "policy", "", "s3:GetBucketPolicy", quick, (*Server).getBucketPolicy},
		{"PutBucketPolicy", bucketLevel, "PUT", "policy", "", "s3:PutBucketPolicy", quick, (*Server).putBucketPolicy},
		{"DeleteBucketPolicy", bucketLevel, "DELETE", "policy", "", "s3:DeleteBucketPolicy", quick, deleteDocument(policyDocument)},
		{"GetBucketPolicyStatus", bucketLevel, "GET", "policyStatus", "", "s3:GetBucketPolicyStatus", quick, (*Server).getBucketPolicyStatus},
		{"GetBucketCors", bucketLevel, "GET", "cors", "", "s3:GetBucketCORS", quick, getDocument(corsDocument, errNoSuchCORS)},
		{"PutBucketCors", bucketLevel, "PUT", "cors", "", "s3:PutBucketCORS", quick, (*Server).putBucketCORS},
		{"DeleteBucketCors", bucketLevel, "DELETE", "cors", "", "s3:PutBucketCORS", quick, deleteDocument(corsDocument)},
		{"GetBucketLifecycleConfiguration", bucketLevel, "GET", "lifecycle", "", "s3:GetLifecycleConfiguration", quick, (*Server).getLifecycle},
		{"PutBucketLifecycleConfiguration", bucketLevel, "PUT", "lifecycle", "", "s3:PutLifecycleConfiguration", quick, (*Server).putLifecycle},
		{"DeleteBucketLifecycle", bucketLevel, "DELETE", "lifecycle", "", "s3:PutLifecycleConfiguration", quick, deleteDocument(lifecycle.Document)},
		{"GetBucketEncryption", bucketLevel, "GET", "encryption", "", "s3:GetEncryptionConfiguration", quick, (*Server).getBucketEncryption},
		{"PutBucketEncryption", bucketLevel, "PUT", "encryption", "", "s3:PutEncryptionConfiguration", quick, (*Server).putBucketEncryption},
		{"DeleteBucketEncryption", bucketLevel, "DELETE", "encryption", "", "s3:PutEncryptionConfiguration", quick, deleteDocument(encryptionDocument)},
		{"GetBucketReplication", bucketLevel, "GET", "replication", "", "s3:GetReplicationConfiguration", quick, absent("ReplicationConfigurationNotFoundError", "The replication configuration was not found")},
		{"DeleteBucketReplication", bucketLevel, "DELETE", "replication", "", "s3:PutReplicationConfiguration", quick, deleteFixed},
		{"GetBucketWebsite", bucketLevel, "GET", "website", "", "s3:GetBucketWebsite", quick, getDocument(websiteDocument, errNoSuchWebsite)},
		{"PutBucketWebsite", bucketLevel, "PUT", "website", "", "s3:PutBucketWebsite", quick, (*Server).putBucketWebsite},
		{"DeleteBucketWebsite", bucketLevel, "DELETE", "website", "", "s3:DeleteBucketWebsite", quick, deleteDocument(websiteDocument)},
		{"GetObjectLockConfiguration", bucketLevel, "GET", "object-lock", "", "s3:GetBucketObjectLockConfiguration", quick, getDocument(lockDocument, errNoLockConfiguration)},
		{"PutObjectLockConfiguration", bucketLevel, "PUT", "object-lock", "", "s3:PutBucketObjectLockConfiguration", quick, (*Server).putLockConfiguration},
		{"GetPublicAccessBlock", bucketLevel, "GET", "publicAccessBlock", "", "s3:GetBucketPublicAccessBlock", quick, getDocument(publicBlockDocument, errNoSuchPublicBlock)},
		{"PutPublicAccessBlock", bucketLevel, "PUT", "publicAccessBlock", "", "s3:PutBucketPublicAccessBlock", quick, (*Server).putPublicAccessBlock},
		{"DeletePublicAccessBlock", bucketLevel, "DELETE", "publicAccessBlock", "", "s3:PutBucketPublicAccessBlock", quick, deleteDocument(publicBlockDocument)},
		{"ListenBucketNotification", bucketLevel, "GET", "events", "", "s3:ListenBucketNotification", quick, (*Server).listen},
		{"GetBucketFiles", bucketLevel, "GET", FilesQuery, "", "admin:GetBucketFiles", quick, (*Server).getBucketFiles},
		{"PutBucketFiles", bucketLevel, "PUT", FilesQuery, "", "admin:PutBucketFiles", quick, (*Server).putBucketFiles},
		{"GetBucketLimits", bucketLevel, "GET", LimitsQuery, "", "admin:GetBucketLimits", quick, (*Server).getBucketLimits},
		{"PutBucketLimits", bucketLevel, "PUT", LimitsQuery, "", "admin:PutBucketLimits", quick, (*Server).putBucketLimits},
		{"ListMultipartUploads", bucketLevel, "GET", "uploads", "", "s3:ListBucketMultipartUploads", listing, (*Server).listUploads},
		{"ListObjectVersions", bucketLevel, "GET", "versions", "", "s3:ListBucketVersions", listing, (*Server).listVersions},
		{"ListObjectsV2", bucketLevel, "GET", "list-type", "", "s3:ListBucket", listing, (*Server).listObjectsV2},
		{"DeleteObjects", bucketLevel, "POST", "delete", "", "s3:DeleteObject", long, (*Server).deleteObjects},
		{"ListObjects", bucketLevel, "GET", "", "", "s3:ListBucket", listing, (*Server).listObjects},
		{"HeadBucket", bucketLevel, "HEAD", "", "", "s3:ListBucket", quick, (*Server).headBucket},
		{"CreateBucket", bucketLevel, "PUT", "", "", "s3:CreateBucket", quick, (*Server).createBucket},
		{"DeleteBucket", bucketLevel, "DELETE", "", forceHeader, "s3:ForceDeleteBucket", long, (*Server).forceDeleteBucket},
		{"DeleteBucket", bucketLevel, "DELETE", "", "", "s3:DeleteBucket", long, (*Server).deleteBucket},
		{"OptionsBucket", bucketLevel, "OPTIONS", "", "", open, quick, (*Server).preflight},
		{"PostObject", bucketLevel, "POST", "", "", "s3:PutObject", data, (*Server).postObject},

		{"GetObjectTagging", objectLevel, "GET", "tagging", "", "s3:GetObjectTagging", quick, (*Server).getObjectTagging},
		{"PutObjectTagging", objectLevel, "PUT", "tagging", "", "s3:PutObjectTagging", quick, (*Server).putObjectTagging},
		{"DeleteObjectTagging", objectLevel, "DELETE", "tagging", "", "s3:DeleteObjectTagging", quick, (*Server).deleteObjectTagging},
		{"GetObjectAcl", objectLevel, "GET", "acl", "", "s3:GetObjectAcl", quick, (*Server).getACL},
		{"PutObjectAcl", objectLevel, "PUT", "acl", "", "s3:PutObjectAcl", quick, (*Server).putACL},
		{"GetObjectRetention", objectLevel, "GET", "retention", "", "s3:GetObjectRetention", quick, (*Server).getObjectRetention},
		{"PutObjectRetention", objectLevel, "PUT", "retention", "", "s3:PutObjectRetention", quick, (*Server).putObjectRetention},
		{"GetObjectLegalHold", objectLevel, "GET", "legal-hold", "", "s3:GetObjectLegalHold", quick, (*Server).getObjectLegalHold},
		{"PutObjectLegalHold", objectLevel, "PUT", "legal-hold", "", "s3:PutObjectLegalHold", quick, (*Server).putObjectLegalHold},
		{"UpdateObjectEncryption", objectLevel, "PUT", "encryption", "", "s3:UpdateObjectEncryption", quick, (*Server).updateObjectEncryption},
		{"GetObjectAttributes", objectLevel, "GET", "attributes", "", "s3:GetObjectAttributes", quick, (*Server).getObjectAttributes},
		{"ListParts", objectLevel, "GET", "uploadId", "", "s3:ListMultipartUploadParts", listing, (*Server).listParts},
		{"CreateMultipartUpload", objectLevel, "POST", "uploads", "", "s3:PutObject", quick, (*Server).createUpload},
		{"CompleteMultipartUpload", objectLevel, "POST", "uploadId", "", "s3:PutObject", long, (*Server).completeUpload},
		{"AbortMultipartUpload", objectLevel, "DELETE", "uploadId", "", "s3:AbortMultipartUpload", quick, (*Server).abortUpload},
		{"UploadPartCopy", objectLevel, "PUT", "uploadId", "x-amz-copy-source", "s3:PutObject", long, (*Server).uploadPartCopy},
		{"UploadPart", objectLevel, "PUT", "uploadId", "", "s3:PutObject", data, (*Server).uploadPart},
		{"RenameObject", objectLevel, "PUT", "renameObject", "", "s3:PutObject", quick, (*Server).renameObject},
		{"CopyObject", objectLevel, "PUT", "", "x-amz-copy-source", "s3:PutObject", long, (*Server).copyObject},
		{"GetObject", objectLevel, "GET", "", "", "s3:GetObject", data, (*Server).getObject},
		{"HeadObject", objectLevel, "HEAD", "", "", "s3:GetObject", quick, (*Server).headObject},
		{"PutObject", objectLevel, "PUT", "", "", "s3:PutObject", data, (*Server).putObject},
		{"OptionsObject", objectLevel, "OPTIONS", "", "", open, quick, (*Server).preflight},
		{"DeleteObject", objectLevel, "DELETE", "", "", "s3:DeleteObject", quick, (*Server).deleteObject},
	}
}

// subresources are the parameters by which S3, and MinIO, know further operations. A
// request that has one and fits no row is for something Shoal does not do, and
// must not be taken for the plain operation of its method.
func subresources() []string {
	return []string{
		"abac", "accelerate", "acl", "analytics", "append", "attributes", "cors", "delete", "encryption", "events",
		"intelligent-tiering", "inventory", "lambdaArn", "legal-hold", "lifecycle", "location", "logging", "metadataConfiguration",
		"metadataInventoryTable", "metadataJournalTable", "metadataTable", "metrics", "notification", "object-lock", "ownershipControls", "policy", "policyStatus",
		"publicAccessBlock", "renameObject", "replication", "replication-check", "replication-metrics", "replication-reset",
		"replication-reset-status", "requestPayment", "restore", "retention", "select", "session", "tagging", "torrent", "uploadId", "uploads", "versioning", "versions", "website",
		FilesQuery, LimitsQuery,
	}
}

// table finds the row of a request.
type table struct {
	rows         map[string][]*operation // by method and level
	names        map[string]*operation   // the same by name
	subresources map[string]bool
}

func newTable(rows []*operation) *table {
	t := &table{rows: map[string][]*operation{}, names: map[string]*operation{}, subresources: map[string]bool{}}
	for _, row := range rows {
		k := row.method + string('0'+byte(row.level))
		t.rows[k] = append(t.rows[k], row)
		t.names[row.name] = row
	}
	for _, name := range subresources() {
		t.subresources[name] = true
	}
	return t
}

// find returns the operation that the request asks for.
func (t *table) find(r *request) (*operation, error) {
	rows := t.rows[r.method+string('0'+byte(r.level()))]
	sub := ""
	for i := range r.query {
		switch name := r.query[i].name; {
		case !t.subresources[name]:
		case sub == "":
			sub = name
		case sub != name:
			return nil, errInvalidArgument.with("Conflicting query string parameters: "+min(sub, name)+", "+max(sub, name)).
				detailed("ArgumentName", "ResourceType").detailed("ArgumentValue", min(sub, name))
		}
	}
	for _, row := range rows {
		switch {
		case row.query == "" && sub != "", row.query != "" && !r.query.has(row.query):
		case row.header != "" && !r.hasHeader(row.header):
		default:
			return row, nil
		}
	}
	if sub != "" {
		return nil, r.unserved(sub)
	}
	return nil, errMethodNotAllowed
}

// unserved returns why no row fits a request for a subresource: S3 has it for buckets only, or
// Shoal does not do it.
func (r *request) unserved(sub string) error {
	asked := r.method + " ?" + sub
	if r.level() == objectLevel {
		switch asked {
		case "GET ?versions":
			return errInvalidRequest.with("There is no such thing as the ?versions sub-resource for a key")
		case "GET ?uploads":
			return errInvalidRequest.with("Key is not expected for the GET method ?uploads subresource")
		}
	}
	return errNotImplemented.with("The operation "+asked+" is not implemented.").detailed("Method", r.method).detailed("ResourceType", sub)
}
