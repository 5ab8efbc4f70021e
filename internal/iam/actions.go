package iam

import "strings"

// bucketActions are the actions on buckets, objectActions those on objects, in
// lower case without "s3:"
// (https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html).
const (
	bucketActions = ` createbucket deletebucket deletebucketpolicy deletebucketwebsite deletebucketownershipcontrols
 getaccelerateconfiguration getanalyticsconfiguration getbucketacl getbucketcors getbucketlocation getbucketlogging
 getbucketnotification getbucketobjectlockconfiguration getbucketownershipcontrols getbucketpolicy getbucketpolicystatus
 getbucketpublicaccessblock getbucketrequestpayment getbuckettagging getbucketversioning getbucketwebsite
 getencryptionconfiguration getintelligenttieringconfiguration getinventoryconfiguration getlifecycleconfiguration
 getmetricsconfiguration getreplicationconfiguration listbucket listbucketmultipartuploads listbucketversions
 putaccelerateconfiguration putanalyticsconfiguration putbucketacl putbucketcors putbucketlogging putbucketnotification
 putbucketobjectlockconfiguration putbucketownershipcontrols putbucketpolicy putbucketpublicaccessblock
 putbucketrequestpayment putbuckettagging putbucketversioning putbucketwebsite putencryptionconfiguration
 putintelligenttieringconfiguration putinventoryconfiguration putlifecycleconfiguration putmetricsconfiguration
 putreplicationconfiguration forcedeletebucket listallmybuckets listennotification listenbucketnotification `
	objectActions = ` abortmultipartupload bypassgovernanceretention deleteobject deleteobjecttagging deleteobjectversion
 deleteobjectversiontagging getobject getobjectacl getobjectattributes getobjectlegalhold getobjectretention
 getobjecttagging getobjecttorrent getobjectversion getobjectversionacl getobjectversionattributes
 getobjectversionforreplication getobjectversiontagging getobjectversiontorrent listmultipartuploadparts
 objectowneroverridetobucketowner putobject putobjectacl putobjectlegalhold putobjectretention putobjecttagging
 putobjectversionacl putobjectversiontagging replicatedelete replicateobject replicatetags restoreobject
 selectobjectcontent updateobjectencryption `
)

// levelOf reports what an action, or a pattern of actions, is about; it is not
// known if S3 has none that it names.
func levelOf(pattern string) (onBucket, onObject, known bool) {
	name := strings.ToLower(pattern)
	if name == "*" {
		return true, true, true
	}
	name, ok := strings.CutPrefix(name, "s3:")
	if !ok {
		return false, false, false
	}
	onBucket, onObject = anyFits(name, bucketActions), anyFits(name, objectActions)
	return onBucket, onObject, onBucket || onObject
}

func anyFits(pattern, actions string) bool {
	for action := range strings.FieldsSeq(actions) {
		if wild(pattern, action) {
			return true
		}
	}
	return false
}
