package events

import "strings"

// Name is what has happened, as S3 names it.
type Name string

// What happens here
// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-how-to-event-types-and-destinations.html).
// ObjectAccessed is MinIO's, ObjectForeign ours.
const (
	CreatedPut      Name = "s3:ObjectCreated:Put"
	CreatedPost     Name = "s3:ObjectCreated:Post"
	CreatedCopy     Name = "s3:ObjectCreated:Copy"
	CreatedComplete Name = "s3:ObjectCreated:CompleteMultipartUpload"
	Removed         Name = "s3:ObjectRemoved:Delete"
	RemovedMarker   Name = "s3:ObjectRemoved:DeleteMarkerCreated"
	TaggingPut      Name = "s3:ObjectTagging:Put"
	TaggingDelete   Name = "s3:ObjectTagging:Delete"
	Expired         Name = "s3:LifecycleExpiration:Delete"
	ExpiredMarker   Name = "s3:LifecycleExpiration:DeleteMarkerCreated"
	AccessedGet     Name = "s3:ObjectAccessed:Get"
	AccessedHead    Name = "s3:ObjectAccessed:Head"
	ForeignCreated  Name = "s3:ObjectForeign:Created" // or changed, beside S3
	ForeignRemoved  Name = "s3:ObjectForeign:Removed"

	test Name = "s3:TestEvent"
)

// names are those that a configuration may ask for.
func names() []Name {
	return []Name{
		CreatedPut, CreatedPost, CreatedCopy, CreatedComplete, Removed, RemovedMarker,
		TaggingPut, TaggingDelete, Expired, ExpiredMarker, AccessedGet, AccessedHead, ForeignCreated, ForeignRemoved,
	}
}

// elsewhere are the families of events that S3 or MinIO know and that never happen
// here.
func elsewhere() []string {
	return []string{
		"s3:ReducedRedundancyLostObject", "s3:ObjectRestore:", "s3:Replication:", "s3:LifecycleTransition",
		"s3:IntelligentTiering", "s3:ObjectAcl:", "s3:ObjectTransition:", "s3:Scanner:", "s3:BucketCreated:", "s3:BucketRemoved:",
	}
}

// Matches reports whether a pattern, which is a name or a family such as
// "s3:ObjectCreated:*", is about a name.
func (n Name) Matches(pattern string) bool {
	family, wild := strings.CutSuffix(pattern, "*")
	return wild && strings.HasPrefix(string(n), family) || string(n) == pattern
}

// removes reports whether there is no object after it, or none but by its version.
func (n Name) removes() bool {
	return strings.HasPrefix(string(n), "s3:ObjectRemoved:") || strings.HasPrefix(string(n), "s3:LifecycleExpiration:") || n == ForeignRemoved
}

// standing is what is known of a pattern.
type standing uint8

const (
	unknown standing = iota
	never            // it is about what does not happen here
	happens          //
)

func standingOf(pattern string) standing {
	if !strings.HasSuffix(pattern, ":*") && strings.Contains(pattern, "*") {
		return unknown
	}
	for _, n := range names() {
		if n.Matches(pattern) && pattern != "s3:*" {
			return happens
		}
	}
	for _, family := range elsewhere() {
		if strings.HasPrefix(pattern, family) {
			return never
		}
	}
	return unknown
}
