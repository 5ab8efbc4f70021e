package gateway

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// zipped returns an archive of files, by their names.
func zipped(t testing.TB, files map[string]string) string {
	t.Helper()
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for name, text := range files {
		f, err := w.Create(name)
		if err == nil {
			_, err = f.Write([]byte(text))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

const (
	anyPolicy    = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket/*"}]}`
	anyLifecycle = `<LifecycleConfiguration><Rule><ID>r</ID><Status>Enabled</Status><Filter><Prefix>a</Prefix></Filter><Expiration><Days>3</Days></Expiration></Rule></LifecycleConfiguration>`
	anyCORS      = `<CORSConfiguration><CORSRule><AllowedMethod>GET</AllowedMethod><AllowedOrigin>*</AllowedOrigin></CORSRule></CORSConfiguration>`
)

func TestConfigurationsOfBucketsAreTheSameWhereTheyAreImported(t *testing.T) {
	o := serveOffice(t)
	for query, document := range map[string]string{
		"policy": anyPolicy, "lifecycle": anyLifecycle, "cors": anyCORS,
		"versioning": `<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>`,
		"tagging":    `<Tagging><TagSet><Tag><Key>k</Key><Value>v</Value></Tag></TagSet></Tagging>`,
	} {
		o.ok(call{method: "PUT", path: "/bucket", query: query, body: document})
	}
	o.ok(call{method: "PUT", path: "/locked", header: map[string]string{"x-amz-bucket-object-lock-enabled": "true"}})
	o.ok(call{method: "PUT", path: "/locked", query: "object-lock", body: `<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention><Mode>GOVERNANCE</Mode><Days>5</Days></DefaultRetention></Rule></ObjectLockConfiguration>`})
	packed, code := o.admin("boss", "GET", "export-bucket-metadata", "", "")
	if code != "" {
		t.Fatal(packed.body)
	}
	want := make(map[string]string)
	for _, at := range []string{"bucket?policy", "bucket?lifecycle", "bucket?cors", "bucket?versioning", "bucket?tagging", "locked?object-lock", "locked?versioning"} {
		want[at] = ""
	}
	look := func(then func(at, text string)) {
		for at := range want {
			bucket, query, _ := strings.Cut(at, "?")
			then(at, o.ok(call{method: "GET", path: "/" + bucket, query: query}).body)
		}
	}
	look(func(at, text string) { want[at] = text })
	o.ok(call{method: "DELETE", path: "/bucket"})
	o.ok(call{method: "DELETE", path: "/locked"})
	for range 2 { // the second time all is there
		if answer, code := o.admin("boss", "PUT", "import-bucket-metadata", "", packed.body); code != "" || strings.Contains(answer.body, `"error"`) {
			t.Fatal(answer.body)
		}
		look(func(at, text string) {
			if text != want[at] {
				t.Errorf("%s: got %s, want %s", at, text, want[at])
			}
		})
	}
}

func TestWhatABucketsOperationRefusesIsToldAndTheRestImported(t *testing.T) {
	o := serveOffice(t)
	answer, code := o.admin("boss", "PUT", "import-bucket-metadata", "", zipped(t, map[string]string{
		"bucket/policy.json": `{"Statement":[]}`, "bucket/cors.xml": anyCORS, "bucket/replication.xml": "<x/>", "fresh/cors.xml": anyCORS, "No Bucket/cors.xml": anyCORS,
	}))
	if code != "" {
		t.Fatal(answer.body)
	}
	var got struct {
		Buckets map[string]struct {
			Policy, CORS struct {
				IsSet bool
				Error string
			}
			Error string
		}
	}
	o.must(t, json.Unmarshal([]byte(answer.body), &got))
	b := got.Buckets
	if b["bucket"].Policy.IsSet || b["bucket"].Policy.Error == "" || !b["bucket"].CORS.IsSet || !b["fresh"].CORS.IsSet || b["No Bucket"].Error == "" {
		t.Errorf("%s", answer.body)
	}
	o.ok(call{method: "GET", path: "/bucket", query: "cors"})
	o.ok(call{method: "GET", path: "/fresh", query: "cors"})
}

func TestEachConfigurationIsPutByAnOperation(t *testing.T) {
	o := serveOffice(t)
	files := make(map[string]string)
	for _, name := range []string{
		"versioning.xml", "object-lock.xml", "tagging.xml", "policy.json", "lifecycle.xml", "bucket-encryption.xml",
		"notification.xml", "cors.xml", "website.xml", "public-access-block.xml", "quota.json", "limits.json",
	} {
		files["bucket/"+name] = "no document"
	}
	answer, code := o.admin("boss", "PUT", "import-bucket-metadata", "", zipped(t, files))
	if n := strings.Count(answer.body, `"isSet":false,"error":"`); code != "" || n != len(files) {
		t.Errorf("%d of %d have refused it: %s %s", n, len(files), code, answer.body)
	}
}

func TestOnlyOneBucketIsExportedAndImportedIfItIsNamed(t *testing.T) {
	o := serveOffice(t)
	o.ok(call{method: "PUT", path: "/other"})
	packed, _ := o.admin("boss", "GET", "export-bucket-metadata", "bucket=other", "")
	r, err := zip.NewReader(strings.NewReader(packed.body), int64(len(packed.body)))
	o.must(t, err)
	if slices.ContainsFunc(r.File, func(f *zip.File) bool { return !strings.HasPrefix(f.Name, "other/") }) || len(r.File) == 0 {
		t.Errorf("%d files", len(r.File))
	}
	o.admin("boss", "PUT", "import-bucket-metadata", "bucket=other", zipped(t, map[string]string{"bucket/cors.xml": anyCORS, "other/cors.xml": anyCORS}))
	o.ok(call{method: "GET", path: "/other", query: "cors"})
	o.refused("NoSuchCORSConfiguration", call{method: "GET", path: "/bucket", query: "cors"})
	for _, call := range []string{"export", "import"} {
		method := map[string]string{"export": "GET", "import": "PUT"}[call]
		if _, code := o.admin("ann", method, call+"-bucket-metadata", "", ""); code != "AccessDenied" {
			t.Errorf("ann may %s: %s", call, code)
		}
	}
}
