package gateway

import (
	"maps"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// serveLocked serves one bucket with Object Lock.
func serveLocked(t *testing.T) *fixture {
	t.Helper()
	f := serve(t, nil)
	f.ok(call{method: "PUT", path: "/bucket", header: map[string]string{"x-amz-bucket-object-lock-enabled": "true"}})
	return f
}

func inAnHour() string { return time.Now().Add(time.Hour).UTC().Format(time.RFC3339) }

// retained stores an object that is retained, and returns its version.
func (f *fixture) retained(key, mode string) string {
	f.t.Helper()
	return f.ok(call{method: "PUT", path: "/bucket/" + key, body: "x", header: map[string]string{"x-amz-object-lock-mode": mode, "x-amz-object-lock-retain-until-date": inAnHour(), "Content-MD5": md5Base64("x")}}).header.Get("X-Amz-Version-Id")
}

func retention(mode, until string) string {
	return "<Retention><Mode>" + mode + "</Mode><RetainUntilDate>" + until + "</RetainUntilDate></Retention>"
}

func TestToProtectWhatOneWritesTakesPermissionsOfItsOwn(t *testing.T) {
	f := serveLocked(t)
	retained := map[string]string{"x-amz-object-lock-mode": "COMPLIANCE", "x-amz-object-lock-retain-until-date": inAnHour(), "Content-MD5": md5Base64("x")}
	held := map[string]string{"x-amz-object-lock-legal-hold": "ON", "Content-MD5": md5Base64("x")}
	allow := func(actions string) {
		f.setPolicy(`{"Effect": "Allow", "Principal": "*", "Action": [` + actions + `], "Resource": "arn:aws:s3:::bucket/*"}`)
	}
	put := func(header map[string]string) call {
		return call{method: "PUT", path: "/bucket/k", body: "x", anonymous: true, header: header}
	}
	begin := func(header map[string]string) call {
		return call{method: "POST", path: "/bucket/k", query: "uploads=", anonymous: true, header: header}
	}
	allow(`"s3:PutObject"`)
	f.ok(put(nil))
	for _, c := range []call{put(retained), put(held), begin(retained), begin(held)} {
		f.refused("AccessDenied", c)
	}
	allow(`"s3:PutObject", "s3:PutObjectRetention"`)
	f.ok(put(retained))
	f.refused("AccessDenied", put(held))
	allow(`"s3:PutObject", "s3:PutObjectLegalHold"`)
	f.ok(put(held))
	f.refused("AccessDenied", put(retained))
}

func TestWhatCannotBeDeletedIsOnlyTakenAsTheClientDeclaresIt(t *testing.T) {
	f := serveLocked(t)
	retained := map[string]string{"x-amz-object-lock-mode": "COMPLIANCE", "x-amz-object-lock-retain-until-date": inAnHour()}
	held := map[string]string{"x-amz-object-lock-legal-hold": "ON"}
	with := func(header map[string]string, name, value string) map[string]string {
		more := maps.Clone(header)
		more[name] = value
		return more
	}
	begun := f.ok(call{method: "POST", path: "/bucket/parts", query: "uploads=", header: retained}).body
	_, rest, _ := strings.Cut(begun, "<UploadId>")
	id, _, _ := strings.Cut(rest, "</UploadId>")
	part := "partNumber=1&uploadId=" + id
	for _, c := range []call{
		{path: "/bucket/k", header: retained}, {path: "/bucket/k", header: held}, {path: "/bucket/parts", query: part, header: map[string]string{}},
	} {
		c.method, c.body = "PUT", "x"
		f.refused("InvalidRequest", c)
		for name, value := range map[string]string{"Content-MD5": md5Base64("x"), "x-amz-checksum-crc32": "jNwWgw=="} {
			declared := c
			declared.header = with(c.header, name, value)
			f.refused("", declared)
		}
	}
	f.ok(call{method: "PUT", path: "/bucket/free", body: "x"})
}

func TestConditionsOfAPolicySeeWhatALockIsToBe(t *testing.T) {
	f := serveLocked(t)
	f.put("k", "x")
	in := func(days int) string { return time.Now().AddDate(0, 0, days).UTC().Format(time.RFC3339) }
	put := func(days int) call {
		return call{method: "PUT", path: "/bucket/k", body: "x", header: map[string]string{"x-amz-object-lock-mode": "GOVERNANCE", "x-amz-object-lock-retain-until-date": in(days), "Content-MD5": md5Base64("x")}}
	}
	retain := func(days int) call {
		return call{method: "PUT", path: "/bucket/k", query: "retention=", body: retention("GOVERNANCE", in(days))}
	}
	deny := func(action, condition string) {
		f.setPolicy(`{"Effect": "Deny", "Principal": "*", "Action": "s3:` + action + `", "Resource": "arn:aws:s3:::bucket/*", "Condition": {` + condition + `}}`)
	}
	deny("PutObjectRetention", `"NumericGreaterThan": {"s3:object-lock-remaining-retention-days": "10"}`)
	f.ok(put(9))
	f.refused("AccessDenied", put(12))
	unzoned := call{method: "PUT", path: "/bucket/k", query: "retention=", body: retention("GOVERNANCE", strings.TrimSuffix(in(12), "Z"))}
	f.refused("AccessDenied", unzoned)
	f.ok(retain(10))
	f.refused("AccessDenied", retain(12))
	deny("PutObjectRetention", `"StringEquals": {"s3:object-lock-mode": "GOVERNANCE"}`)
	f.refused("AccessDenied", put(9))
	f.refused("AccessDenied", retain(11))
	deny("PutObjectLegalHold", `"StringEquals": {"s3:object-lock-legal-hold": "ON"}`)
	f.refused("AccessDenied", call{method: "PUT", path: "/bucket/k", body: "x", header: map[string]string{"x-amz-object-lock-legal-hold": "ON", "Content-MD5": md5Base64("x")}})
	hold := call{method: "PUT", path: "/bucket/k", query: "legal-hold=", body: "<LegalHold><Status>ON</Status></LegalHold>"}
	f.refused("AccessDenied", hold)
	hold.body = "<LegalHold><Status>OFF</Status></LegalHold>"
	f.ok(hold)
	for _, c := range []call{hold, retain(12)} {
		c.anonymous = true
		f.refused("AccessDenied", c)
	}
}

func TestABucketIsMadeWithObjectLockOrGetsIt(t *testing.T) {
	f := serveLocked(t)
	if got := f.ok(call{method: "GET", path: "/bucket", query: "object-lock"}).body; !strings.Contains(got, "<ObjectLockEnabled>Enabled</ObjectLockEnabled>") || strings.Contains(got, "<Rule>") {
		t.Errorf("got %s", got)
	}
	if got := f.ok(call{method: "GET", path: "/bucket", query: "versioning"}).body; !strings.Contains(got, "Enabled") {
		t.Errorf("versioning: %s", got)
	}
	f.refused("InvalidBucketState", call{method: "PUT", path: "/bucket", query: "versioning", body: "<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>"})
	f.ok(call{method: "PUT", path: "/plain"})
	f.refused("ObjectLockConfigurationNotFoundError", call{method: "GET", path: "/plain", query: "object-lock"})
	enable := call{method: "PUT", path: "/plain", query: "object-lock", body: "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>"}
	f.refused("InvalidBucketState", enable)
	f.ok(call{method: "PUT", path: "/plain", query: "versioning", body: "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"})
	f.ok(enable)
}

func TestObjectLockIsEnabledByTrueOnly(t *testing.T) {
	f := serve(t, nil)
	enable := func(bucket, value string) call {
		return call{method: "PUT", path: "/" + bucket, header: map[string]string{"x-amz-bucket-object-lock-enabled": value}}
	}
	for _, value := range []string{"foo", "1", "yes", "true,true"} {
		f.refused("InvalidArgument", enable("bucket", value))
		f.refused("NoSuchBucket", call{method: "GET", path: "/bucket", query: "location="})
	}
	f.ok(enable("plain", "False"))
	f.refused("ObjectLockConfigurationNotFoundError", call{method: "GET", path: "/plain", query: "object-lock="})
	f.ok(enable("locked", "True"))
	f.ok(call{method: "GET", path: "/locked", query: "object-lock="})
}

func TestADefaultRetentionIsGivenToWhatAsksForNone(t *testing.T) {
	f := serveLocked(t)
	rule := func(inside string) call {
		return call{method: "PUT", path: "/bucket", query: "object-lock", body: "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention>" + inside + "</DefaultRetention></Rule></ObjectLockConfiguration>"}
	}
	f.refused("MalformedXML", rule("<Mode>GOVERNANCE</Mode>"))
	f.refused("MalformedXML", rule("<Mode>GOVERNANCE</Mode><Days>1</Days><Years>1</Years>"))
	f.refused("MalformedXML", rule("<Mode>SOME</Mode><Days>1</Days>"))
	f.refused("InvalidArgument", rule("<Mode>GOVERNANCE</Mode><Days>0</Days>"))
	f.refused("InvalidArgument", rule("<Mode>GOVERNANCE</Mode><Days>40000</Days>"))
	f.ok(rule("<Mode>COMPLIANCE</Mode><Days>1</Days>"))
	id := f.putVersion("k", "x")
	head := f.ok(call{method: "HEAD", path: "/bucket/k"}).header
	until, err := time.Parse(time.RFC3339, head.Get("X-Amz-Object-Lock-Retain-Until-Date"))
	if head.Get("X-Amz-Object-Lock-Mode") != "COMPLIANCE" || err != nil || time.Until(until) < 23*time.Hour || time.Until(until) > 25*time.Hour {
		t.Errorf("got %v, %v", head, err)
	}
	f.refused("AccessDenied", call{method: "DELETE", path: "/bucket/k", query: "versionId=" + id})
	own := f.retained("own", "GOVERNANCE")
	if head := f.ok(call{method: "HEAD", path: "/bucket/own", query: "versionId=" + own}).header; head.Get("X-Amz-Object-Lock-Mode") != "GOVERNANCE" {
		t.Errorf("a retention of its own: %v", head)
	}
}

func TestAVersionThatIsRetainedIsDeletedByABypassOnly(t *testing.T) {
	f := serveLocked(t)
	bypass := map[string]string{"x-amz-bypass-governance-retention": "true"}
	for mode, bypassed := range map[string]bool{"GOVERNANCE": true, "COMPLIANCE": false} {
		id := f.retained(mode, mode)
		remove := call{method: "DELETE", path: "/bucket/" + mode, query: "versionId=" + id}
		f.refused("AccessDenied", remove)
		body := "<Delete><Object><Key>" + mode + "</Key><VersionId>" + id + "</VersionId></Object></Delete>"
		several := call{method: "POST", path: "/bucket", query: "delete", body: body, header: map[string]string{"Content-MD5": md5Base64(body)}}
		if got := f.ok(several).body; !strings.Contains(got, "<Code>AccessDenied</Code>") {
			t.Errorf("%s: DeleteObjects: %s", mode, got)
		}
		if marked := f.ok(call{method: "DELETE", path: "/bucket/" + mode}); marked.header.Get("X-Amz-Delete-Marker") != "true" {
			t.Errorf("%s: a delete makes no marker: %v", mode, marked.header)
		}
		remove.header = bypass
		if bypassed {
			f.ok(remove)
		} else {
			f.refused("AccessDenied", remove)
		}
	}
}

func TestARetentionIsExtendedButNotTakenBack(t *testing.T) {
	f := serveLocked(t)
	tomorrow := time.Now().Add(24 * time.Hour).UTC().Format(time.RFC3339)
	soon := time.Now().Add(time.Minute).UTC().Format(time.RFC3339)
	bypass := map[string]string{"x-amz-bypass-governance-retention": "true"}
	set := func(key, body string, header map[string]string) call {
		return call{method: "PUT", path: "/bucket/" + key, query: "retention", body: body, header: header}
	}
	f.putVersion("free", "x")
	f.refused("NoSuchObjectLockConfiguration", call{method: "GET", path: "/bucket/free", query: "retention"})
	f.ok(set("free", retention("GOVERNANCE", soon), nil))
	for _, mode := range []string{"GOVERNANCE", "COMPLIANCE"} {
		f.retained(mode, mode)
		f.ok(set(mode, retention(mode, tomorrow), nil))
		f.refused("AccessDenied", set(mode, retention(mode, soon), nil))
		f.refused("AccessDenied", set(mode, "<Retention></Retention>", nil))
		got := f.ok(call{method: "GET", path: "/bucket/" + mode, query: "retention"}).body
		if !strings.Contains(got, "<Mode>"+mode+"</Mode>") || !strings.Contains(got, tomorrow[:16]) {
			t.Errorf("%s: %s", mode, got)
		}
	}
	f.refused("AccessDenied", set("COMPLIANCE", retention("COMPLIANCE", soon), bypass))
	f.ok(set("GOVERNANCE", retention("GOVERNANCE", soon), bypass))
	f.ok(set("GOVERNANCE", "<Retention></Retention>", bypass))
	f.refused("NoSuchObjectLockConfiguration", call{method: "GET", path: "/bucket/GOVERNANCE", query: "retention"})
	f.refused("MalformedXML", set("free", retention("SOME", tomorrow), nil))
	f.refused("InvalidArgument", set("free", retention("GOVERNANCE", "2001-01-01T00:00:00Z"), nil))
	f.refused("NoSuchKey", set("none", retention("GOVERNANCE", tomorrow), nil))
}

func TestAProtectionThatCannotBeReadIsMalformed(t *testing.T) {
	f := serveLocked(t)
	f.putVersion("k", "x")
	for _, body := range []string{"", "<Retention>", retention("GOVERNANCE", "soon"), retention("GOVERNANCE", "1577836800"), retention("GOVERNANCE", ""), retention("", inAnHour())} {
		f.refused("MalformedXML", call{method: "PUT", path: "/bucket/k", query: "retention=", body: body})
	}
	for _, body := range []string{"", "<LegalHold/>", "<LegalHold><Status>on</Status></LegalHold>"} {
		f.refused("MalformedXML", call{method: "PUT", path: "/bucket/k", query: "legal-hold=", body: body})
	}
}

func TestARetentionThatNamesNoTimeZoneEndsInUTC(t *testing.T) {
	f := serveLocked(t)
	f.putVersion("k", "x")
	until := inAnHour()
	f.ok(call{method: "PUT", path: "/bucket/k", query: "retention=", body: retention("GOVERNANCE", strings.TrimSuffix(until, "Z"))})
	if got := f.ok(call{method: "GET", path: "/bucket/k", query: "retention="}).body; !strings.Contains(got, strings.Replace(until, "Z", ".000Z", 1)) {
		t.Errorf("set until %s: %s", until, got)
	}
}

func TestALegalHoldKeepsAVersionUntilItIsLifted(t *testing.T) {
	f := serveLocked(t)
	id := f.ok(call{method: "PUT", path: "/bucket/k", body: "x", header: map[string]string{"x-amz-object-lock-legal-hold": "ON", "Content-MD5": md5Base64("x")}}).header.Get("X-Amz-Version-Id")
	if head := f.ok(call{method: "HEAD", path: "/bucket/k"}).header; head.Get("X-Amz-Object-Lock-Legal-Hold") != "ON" {
		t.Errorf("got %v", head)
	}
	remove := call{method: "DELETE", path: "/bucket/k", query: "versionId=" + id, header: map[string]string{"x-amz-bypass-governance-retention": "true"}}
	f.refused("AccessDenied", remove)
	hold := func(status string) call {
		return call{method: "PUT", path: "/bucket/k", query: "legal-hold", body: "<LegalHold><Status>" + status + "</Status></LegalHold>"}
	}
	f.refused("MalformedXML", hold("MAYBE"))
	f.ok(hold("OFF"))
	if got := f.ok(call{method: "GET", path: "/bucket/k", query: "legal-hold"}).body; !strings.Contains(got, "<Status>OFF</Status>") {
		t.Errorf("got %s", got)
	}
	if head := f.ok(call{method: "HEAD", path: "/bucket/k"}).header; head.Get("X-Amz-Object-Lock-Legal-Hold") != "OFF" {
		t.Errorf("got %v", head)
	}
	f.ok(remove)
}

func TestALegalHoldThatNeverWasIsNotThere(t *testing.T) {
	f := serveLocked(t)
	f.ok(call{method: "PUT", path: "/bucket/k", body: "x"})
	f.refused("NoSuchObjectLockConfiguration", call{method: "GET", path: "/bucket/k", query: "legal-hold"})
	if head := f.ok(call{method: "HEAD", path: "/bucket/k"}).header; head.Get("X-Amz-Object-Lock-Legal-Hold") != "" {
		t.Errorf("got %v", head)
	}
}

func TestABucketWithoutObjectLockIsToldAsTheRequestAsks(t *testing.T) {
	f := withBucket(t)
	f.put("k", "x")
	hold := map[string]string{"x-amz-object-lock-legal-hold": "ON"}
	const byHeader, byDocument = "Bucket is missing ObjectLockConfiguration", "Bucket is missing Object Lock Configuration"
	for name, c := range map[string]struct {
		call
		message string
	}{
		"PutObject":             {call{method: "PUT", path: "/bucket/new", body: "x", header: hold}, byHeader},
		"CreateMultipartUpload": {call{method: "POST", path: "/bucket/new", query: "uploads", header: hold}, byHeader},
		"CopyObject":            {call{method: "PUT", path: "/bucket/new", header: map[string]string{"x-amz-copy-source": "/bucket/k", "x-amz-object-lock-legal-hold": "ON"}}, byHeader},
		"GetObjectRetention":    {call{method: "GET", path: "/bucket/k", query: "retention"}, byDocument},
		"PutObjectRetention":    {call{method: "PUT", path: "/bucket/k", query: "retention", body: retention("GOVERNANCE", inAnHour())}, byDocument},
		"GetObjectLegalHold":    {call{method: "GET", path: "/bucket/k", query: "legal-hold"}, byDocument},
		"PutObjectLegalHold":    {call{method: "PUT", path: "/bucket/k", query: "legal-hold", body: "<LegalHold><Status>ON</Status></LegalHold>"}, byDocument},
	} {
		if r := f.refused("InvalidRequest", c.call); !strings.Contains(r.body, "<Message>"+c.message+"</Message>") {
			t.Errorf("%s: %s", name, r.body)
		}
	}
}

func TestHeadersOfObjectLockAreHeldAgainstTheBucket(t *testing.T) {
	f := serveLocked(t)
	f.ok(call{method: "PUT", path: "/plain"})
	lock := map[string]string{"x-amz-object-lock-mode": "GOVERNANCE", "x-amz-object-lock-retain-until-date": inAnHour()}
	f.refused("InvalidRequest", call{method: "PUT", path: "/plain/k", body: "x", header: lock})
	f.ok(call{method: "PUT", path: "/plain/k", body: "x"})
	f.refused("InvalidRequest", call{method: "GET", path: "/plain/k", query: "retention"})
	for name, header := range map[string]map[string]string{
		"a mode without an end":  {"x-amz-object-lock-mode": "GOVERNANCE"},
		"an end without a mode":  {"x-amz-object-lock-retain-until-date": inAnHour()},
		"no mode of S3":          {"x-amz-object-lock-mode": "SOME", "x-amz-object-lock-retain-until-date": inAnHour()},
		"an end that is past":    {"x-amz-object-lock-mode": "GOVERNANCE", "x-amz-object-lock-retain-until-date": "2001-01-01T00:00:00Z"},
		"no date":                {"x-amz-object-lock-mode": "GOVERNANCE", "x-amz-object-lock-retain-until-date": "soon"},
		"an end that no date is": {"x-amz-object-lock-mode": "COMPLIANCE", "x-amz-object-lock-retain-until-date": "9999-12-31T23:59:59-01:00"},
		"no hold of S3":          {"x-amz-object-lock-legal-hold": "MAYBE"},
	} {
		t.Run(name, func(t *testing.T) {
			f.refused("InvalidArgument", call{method: "PUT", path: "/bucket/k", body: "x", header: header})
			f.missing("k")
		})
	}
	f.retained("k", "COMPLIANCE")
	copied := f.ok(call{method: "PUT", path: "/bucket/copy", header: map[string]string{"x-amz-copy-source": "/bucket/k"}})
	if head := f.ok(call{method: "HEAD", path: "/bucket/copy"}).header; head.Get("X-Amz-Object-Lock-Mode") != "" || copied.status != 200 {
		t.Errorf("a copy takes over the retention: %v", head)
	}
}

// TestAGovernedVersionIsRetainedByTheClockForThat, and not by the gateway's own, which may be fast.
func TestAGovernedVersionIsRetainedByTheClockForThat(t *testing.T) {
	var ahead atomic.Int64
	f := serve(t, func(cfg *Config) {
		cfg.Now = func() time.Time { return time.Now().Add(10 * time.Minute) }
		cfg.LockNow = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	})
	f.ok(call{method: "PUT", path: "/bucket", header: map[string]string{"x-amz-bucket-object-lock-enabled": "true"}})
	version := f.retained("k", "GOVERNANCE") // for an hour
	change := call{method: "PUT", path: "/bucket/k", query: "retention", body: "<Retention></Retention>"}
	remove := call{method: "DELETE", path: "/bucket/k", query: "versionId=" + version}
	f.refused("AccessDenied", change)
	f.refused("AccessDenied", remove)
	ahead.Store(int64(2 * time.Hour))
	f.ok(change)
	f.ok(remove)
}
