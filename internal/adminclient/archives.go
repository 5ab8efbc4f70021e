package adminclient

import (
	"cmp"
	"context"
	"maps"
	"net/http"
	"net/url"
	"slices"
)

// ExportUsers returns an archive (zip) of all users, groups, policies and access keys,
// with their secrets in the clear.
func (c *Client) ExportUsers(ctx context.Context) (archive []byte, err error) {
	err = c.call(ctx, call{method: http.MethodGet, path: "export-iam", answer: &archive})
	return archive, err
}

// ExportBuckets returns an archive (zip) of the configurations of a bucket, or of all
// if it is "".
func (c *Client) ExportBuckets(ctx context.Context, bucket string) (archive []byte, err error) {
	err = c.call(ctx, call{method: http.MethodGet, path: "export-bucket-metadata", query: only(bucket), answer: &archive})
	return archive, err
}

// only is the query that names a bucket, unless it is "".
func only(bucket string) url.Values {
	if bucket == "" {
		return nil
	}
	return url.Values{"bucket": {bucket}}
}

// Imported is what has become of something in an archive.
type Imported struct {
	Kind   string `json:"kind"` // such as user, or policy
	Name   string `json:"name"` // of it, or of the bucket whose it is
	Done   bool   `json:"done"`
	Reason string `json:"reason,omitempty"` // why it is not, where that is told
}

// ImportUsers imports an archive of users, and returns what has become of each thing in
// it, by kind and name.
func (c *Client) ImportUsers(ctx context.Context, archive []byte) ([]Imported, error) {
	var d struct{ Added, Skipped importedNames }
	if err := c.call(ctx, call{method: http.MethodPut, path: "import-iam-v2", body: archive, answer: &d, patient: true}); err != nil {
		return nil, err
	}
	return sorted(append(d.Added.list(true), d.Skipped.list(false)...)), nil
}

// importedNames are names by kind, as the API has them.
type importedNames struct {
	Policies, Users, Groups, ServiceAccounts []string
	UserPolicies, GroupPolicies              []map[string][]string
}

func (n importedNames) list(done bool) []Imported {
	var all []Imported
	for kind, names := range map[string][]string{
		"policy": n.Policies, "user": n.Users, "group": n.Groups, "access key": n.ServiceAccounts,
		"policies of user": keysOf(n.UserPolicies), "policies of group": keysOf(n.GroupPolicies),
	} {
		for _, name := range names {
			all = append(all, Imported{Kind: kind, Name: name, Done: done})
		}
	}
	return all
}

func keysOf(list []map[string][]string) (names []string) {
	for _, m := range list {
		names = slices.AppendSeq(names, maps.Keys(m))
	}
	return names
}

func sorted(all []Imported) []Imported {
	slices.SortFunc(all, func(a, b Imported) int { return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name)) })
	return all
}

// ImportBuckets imports an archive of configurations, of a bucket, or of all if it is "".
// It returns what has become of each configuration in it.
func (c *Client) ImportBuckets(ctx context.Context, bucket string, archive []byte) ([]Imported, error) {
	var d struct {
		Buckets map[string]map[string]any
	}
	if err := c.call(ctx, call{method: http.MethodPut, path: "import-bucket-metadata", query: only(bucket), body: archive, answer: &d, patient: true}); err != nil {
		return nil, err
	}
	all := []Imported{}
	for name, parts := range d.Buckets {
		for kind, v := range parts {
			switch v := v.(type) {
			case string: // of the bucket as a whole
				all = append(all, Imported{Kind: "bucket", Name: name, Reason: v})
			case map[string]any:
				reason, _ := v["error"].(string)
				all = append(all, Imported{Kind: kind, Name: name, Done: v["isSet"] == true, Reason: reason})
			}
		}
	}
	return sorted(all), nil
}
