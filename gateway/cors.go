package gateway

import (
	"cmp"
	"context"
	"encoding/xml"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/shoal-storage/shoal/internal/object"
)

// maxCORSRules is how many rules a configuration may have
// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/ManageCorsUsing.html).
const maxCORSRules = 100

// corsConfiguration is the body of Get- and PutBucketCors.
type corsConfiguration struct {
	XMLName xml.Name   `xml:"CORSConfiguration"`
	Space   string     `xml:"xmlns,attr,omitempty"`
	Rules   []corsRule `xml:"CORSRule"`
}

// corsRule lets pages of some origins make some requests.
type corsRule struct {
	ID             string   `xml:"ID,omitempty"`
	AllowedHeaders []string `xml:"AllowedHeader"`
	AllowedMethods []string `xml:"AllowedMethod"`
	AllowedOrigins []string `xml:"AllowedOrigin"`
	ExposeHeaders  []string `xml:"ExposeHeader"`
	MaxAgeSeconds  int      `xml:"MaxAgeSeconds,omitempty"`
}

// validate refuses what S3 does not take.
func (c *corsConfiguration) validate() error {
	if len(c.Rules) == 0 || len(c.Rules) > maxCORSRules {
		return errMalformedXML
	}
	for i := range c.Rules {
		if err := c.Rules[i].validate(); err != nil {
			return err
		}
	}
	return nil
}

func (r *corsRule) validate() error {
	if len(r.AllowedMethods) == 0 || len(r.AllowedOrigins) == 0 || len(r.ID) > 255 || slices.Contains(r.AllowedOrigins, "") {
		return errMalformedXML
	}
	if r.MaxAgeSeconds > math.MaxInt32 || r.MaxAgeSeconds < math.MinInt32 {
		return errMalformedXML
	}
	for _, m := range r.AllowedMethods {
		if !slices.Contains([]string{"GET", "PUT", "HEAD", "POST", "DELETE"}, m) {
			return errInvalidRequest.with("Found unsupported HTTP method in CORS config. Unsupported method is " + m)
		}
	}
	for name, values := range map[string][]string{"AllowedOrigin": r.AllowedOrigins, "AllowedHeader": r.AllowedHeaders} {
		for _, v := range values {
			if strings.Count(v, "*") > 1 {
				return errInvalidRequest.with(name + ` "` + v + `" can not have more than one wildcard.`)
			}
		}
	}
	for _, h := range r.ExposeHeaders {
		if strings.Contains(h, "*") {
			return errInvalidRequest.with(`ExposeHeader "` + h + `" contains wildcard. We currently do not support wildcard for ExposeHeader.`)
		}
	}
	for name, values := range map[string][]string{"AllowedHeader": r.AllowedHeaders, "ExposeHeader": r.ExposeHeaders} {
		for _, v := range values {
			if v != "" && !isToken(v) {
				return errInvalidRequest.with(name + ` "` + v + `" contains invalid character.`)
			}
		}
	}
	return nil
}

// putBucketCORS serves PutBucketCors
// (https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketCors.html).
func (s *Server) putBucketCORS(ctx context.Context, r *request) error {
	var in corsConfiguration
	if err := s.readDocument(ctx, r, &in); err != nil {
		return err
	}
	if err := in.validate(); err != nil {
		return err
	}
	in.XMLName, in.Space = xml.Name{Local: "CORSConfiguration"}, xmlNamespace
	text, err := encodeDocument(&in)
	if err != nil {
		return err
	}
	return s.setDocument(ctx, r, corsDocument, text, nil)
}

// corsOf returns the rules of a bucket, or those of all that have none of their
// own; nil if there are none.
func (s *Server) corsOf(r *request, bucket string) (*corsConfiguration, error) {
	documents, err := s.documents(r, bucket)
	if err != nil {
		return nil, err
	}
	if text, there := documents[corsDocument]; there {
		return parsed(&s.parsed, corsDocument, text, func(string) (*corsConfiguration, error) {
			var c corsConfiguration
			return &c, parseXML([]byte(text), &c)
		})
	}
	origins := s.tuned.Load().origins
	if len(origins) == 0 || bucket == "" {
		return nil, nil
	}
	return &corsConfiguration{Rules: []corsRule{{
		AllowedOrigins: origins, AllowedMethods: []string{"GET", "PUT", "HEAD", "POST", "DELETE"}, AllowedHeaders: []string{"*"},
		ExposeHeaders: []string{"ETag", "Content-Range", "Last-Modified", "x-amz-request-id", "x-amz-version-id", "x-amz-delete-marker"}, MaxAgeSeconds: 3600,
	}}}, nil
}

// match returns the first rule that lets a page of origin make such a request.
func (c *corsConfiguration) match(origin, method string, headers []string) *corsRule {
	for i := range c.Rules {
		r := &c.Rules[i]
		if !slices.Contains(r.AllowedMethods, method) || !slices.ContainsFunc(r.AllowedOrigins, func(p string) bool { return fitsWildcard(p, origin) }) {
			continue
		}
		if !slices.ContainsFunc(headers, func(h string) bool { return !r.allowsHeader(h) }) {
			return r
		}
	}
	return nil
}

func (r *corsRule) allowsHeader(name string) bool {
	return slices.ContainsFunc(r.AllowedHeaders, func(p string) bool { return fitsWildcard(strings.ToLower(p), strings.ToLower(name)) })
}

// fitsWildcard reports whether text fits a pattern with one '*' at most.
func fitsWildcard(pattern, text string) bool {
	before, after, has := strings.Cut(pattern, "*")
	if !has {
		return pattern == text
	}
	return len(text) >= len(before)+len(after) && strings.HasPrefix(text, before) && strings.HasSuffix(text, after)
}

// preflight serves the question of a browser whether a page may make a request
// (https://docs.aws.amazon.com/AmazonS3/latest/API/RESTOPTIONSobject.html). S3 looks for rules before
// it looks at what is asked.
func (s *Server) preflight(ctx context.Context, r *request) error {
	origin := r.header(fasthttp.HeaderOrigin)
	if origin == "" {
		return errBadRequest.with("Insufficient information. Origin request header needed.")
	}
	rules, err := s.preflightRules(ctx, r)
	if err != nil {
		return err
	}
	method, err := r.methodToAllow()
	if err != nil {
		return err
	}
	headers, err := r.headersToAllow()
	if err != nil {
		return err
	}
	rule := rules.match(origin, method, headers)
	if rule == nil {
		return errCORSForbidden.with("CORSResponse: This CORS request is not allowed. This is usually because the evalution of Origin, request method / Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted by the resource's CORS spec.")
	}
	r.setCORS(origin, rule)
	if len(headers) > 0 {
		r.set(fasthttp.HeaderAccessControlAllowHeaders, strings.Join(headers, ", "))
	}
	return nil
}

// preflightRules returns the rules of the bucket that a preflight is about. Where there are none it is
// refused with AccessForbidden, and so it is if there is no bucket.
func (s *Server) preflightRules(ctx context.Context, r *request) (*corsConfiguration, error) {
	rules, err := s.corsOf(r, r.bucket)
	if err != nil || rules != nil {
		return rules, err
	}
	switch _, err := s.Store.StatBucket(ctx, r.bucket); {
	case errors.Is(err, object.NoSuchBucket):
		return nil, errCORSForbidden.with("CORSResponse: Bucket not found").because(err)
	case err != nil:
		return nil, err
	}
	return nil, errCORSForbidden
}

// methodToAllow returns the method that a page wants to use.
func (r *request) methodToAllow() (string, error) {
	method := r.header(fasthttp.HeaderAccessControlRequestMethod)
	if !slices.Contains([]string{"GET", "PUT", "HEAD", "POST", "DELETE"}, method) {
		return "", errBadRequest.with("Invalid Access-Control-Request-Method: " + cmp.Or(method, "null"))
	}
	return method, nil
}

// headersToAllow returns the headers that a page wants to send, in lower case.
func (r *request) headersToAllow() ([]string, error) {
	const name = fasthttp.HeaderAccessControlRequestHeaders
	var headers []string
	for h := range splitList(r.header(name)) {
		if !isToken(h) {
			return nil, errBadRequest.with(name + ` "` + h + `" contains invalid character.`)
		}
		headers = append(headers, strings.ToLower(h))
	}
	return headers, nil
}

// setCORS tells a browser what a rule lets pages of origin do.
func (r *request) setCORS(origin string, rule *corsRule) {
	if slices.Contains(rule.AllowedOrigins, "*") {
		r.set(fasthttp.HeaderAccessControlAllowOrigin, "*")
	} else {
		r.set(fasthttp.HeaderAccessControlAllowOrigin, origin)
		r.set(fasthttp.HeaderAccessControlAllowCredentials, "true")
	}
	r.set(fasthttp.HeaderAccessControlAllowMethods, strings.Join(rule.AllowedMethods, ", "))
	r.set(fasthttp.HeaderAccessControlExposeHeaders, strings.Join(rule.ExposeHeaders, ", "))
	if rule.MaxAgeSeconds > 0 {
		r.set(fasthttp.HeaderAccessControlMaxAge, strconv.Itoa(rule.MaxAgeSeconds))
	}
	r.set(fasthttp.HeaderVary, "Origin, Access-Control-Request-Headers, Access-Control-Request-Method")
}

// cors tells the browser that made a request whether its page may see the answer.
// That the bucket cannot be asked is for the operation to find out.
func (s *Server) cors(r *request) {
	origin := r.header(fasthttp.HeaderOrigin)
	if origin == "" || r.bucket == "" || r.method == fasthttp.MethodOptions {
		return
	}
	rules, err := s.corsOf(r, r.bucket)
	if err != nil || rules == nil {
		return
	}
	// S3 goes by the method that a preflight asks for, where a request names one.
	method := cmp.Or(r.header(fasthttp.HeaderAccessControlRequestMethod), r.method)
	if rule := rules.match(origin, method, nil); rule != nil {
		r.setCORS(origin, rule)
	}
}
