package gateway

import (
	"context"
	"errors"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/shoal-storage/shoal/internal/object"
)

// A host below one of the website domains shows a bucket to browsers: to strangers, as
// far as the policy of the bucket lets them read, with pages for errors
// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/WebsiteEndpoints.html).

// pageOperation is the operation of every request to such a host.
func pageOperation() *operation {
	return &operation{name: "GetWebsite", level: objectLevel, action: "s3:GetObject", class: data, handle: (*Server).getWebsite}
}

// prepareWebsite is prepare for a request to such a host: what it asks beside the key
// is left aside.
func (s *Server) prepareWebsite(r *request) error {
	r.op, r.query = pageOperation(), nil
	if r.method != fasthttp.MethodGet && r.method != fasthttp.MethodHead {
		return r.naming(errMethodNotAllowed)
	}
	s.cors(r)
	if err := r.checkNames(); err != nil {
		return err
	}
	if err := s.limit(r); err != nil {
		return err
	}
	return s.admit(r)
}

// websiteOf returns the configuration of the request's website.
func (s *Server) websiteOf(ctx context.Context, r *request) (*websiteConfiguration, error) {
	documents, err := s.documents(r, r.bucket)
	if err != nil {
		return nil, err
	}
	text, there := documents[websiteDocument]
	if !there {
		if err := s.exists(ctx, r); err != nil {
			return nil, err
		}
		return nil, errNoSuchWebsite.detailed("BucketName", r.bucket)
	}
	return parsed(&s.parsed, websiteDocument, text, func(string) (*websiteConfiguration, error) {
		var c websiteConfiguration
		return &c, parseXML([]byte(text), &c)
	})
}

// getWebsite answers with the page that a key stands for, or sends the browser where
// it is.
func (s *Server) getWebsite(ctx context.Context, r *request) error {
	site, err := s.websiteOf(ctx, r)
	if err != nil {
		return err
	}
	if all := site.RedirectAllRequestsTo; all != nil {
		r.redirect(all, "")
		return nil
	}
	asked := r.key
	if rule := site.route(asked, 0); rule != nil {
		r.redirectBy(rule)
		return nil
	}
	err = s.getPage(ctx, r, site)
	if err == nil {
		return nil
	}
	if object.KindOf(err) == object.NoSuchKey && !r.mayList(s) {
		err = errAccessDenied.because(err)
	}
	e := r.naming(toS3(err))
	if e.status == fasthttp.StatusNotModified {
		return e
	}
	r.key = asked
	if rule := site.route(asked, e.status); rule != nil {
		r.redirectBy(rule)
		return nil
	}
	if site.ErrorDocument != nil && e.status < 500 && s.showPage(ctx, r, *site.ErrorDocument.Key, false) == nil {
		r.failure = e
		r.ctx.SetStatusCode(e.status)
		return nil
	}
	return e
}

// getPage answers with the object of the request's key, or the index document of the
// directory that it names.
func (s *Server) getPage(ctx context.Context, r *request, site *websiteConfiguration) error {
	asked := r.key
	directory := asked == "" || strings.HasSuffix(asked, "/")
	if directory {
		r.key += site.IndexDocument.Suffix
	}
	err := s.showPage(ctx, r, r.key, true)
	if directory || object.KindOf(err) != object.NoSuchKey {
		return err
	}
	index := object.Ref{Bucket: r.bucket, Key: asked + "/" + site.IndexDocument.Suffix}
	if _, missing := s.Store.Stat(ctx, index); missing != nil || s.allow(r, "s3:GetObject", index) != nil {
		return err
	}
	path := url.URL{Path: "/" + asked + "/"}
	r.set("Location", path.EscapedPath())
	r.answerEmpty(http.StatusFound)
	return nil
}

// showPage answers with an object, or where it sends the browser; as what was asked
// for it may be answered in part, or not at all if the browser has it.
func (s *Server) showPage(ctx context.Context, r *request, key string, asked bool) error {
	ref := object.Ref{Bucket: r.bucket, Key: key}
	if err := s.allow(r, "s3:GetObject", ref); err != nil {
		return err
	}
	h, e, err := s.openDecrypted(ctx, r.identity, ref, nil)
	if err != nil {
		return err
	}
	info := h.Info()
	if to := info.Meta.WebsiteRedirect; to != "" && asked {
		r.set("Location", to)
		r.answerEmpty(http.StatusMovedPermanently)
		return h.Close()
	}
	part := span{length: info.Size}
	if asked {
		if part, err = s.choose(r, &info); err != nil {
			return errors.Join(err, h.Close())
		}
	}
	var body *objectBody
	if r.method != fasthttp.MethodHead {
		if body, err = s.contentBody(h, part, r.id); err != nil {
			return errors.Join(err, h.Close())
		}
	}
	if asked {
		s.describe(r, ref, &info, e, part)
	} else {
		r.setMeta(&info)
	}
	r.setAll(e.headers())
	if body == nil {
		r.ctx.Response.Header.SetContentLength(int(part.length))
		return h.Close()
	}
	r.ctx.Response.SetBodyStream(body, int(part.length))
	return nil
}

// redirectBy sends the browser where a rule says.
func (r *request) redirectBy(rule *routingRule) {
	prefix := ""
	if rule.Condition != nil {
		prefix = rule.Condition.KeyPrefixEquals
	}
	r.redirect(&rule.Redirect, prefix)
}

func (r *request) redirect(to *websiteRedirect, prefix string) {
	r.set("Location", to.location(r.scheme(), string(r.ctx.Host()), r.key, prefix))
	r.answerEmpty(to.status())
}

// errorPage is the body of an error for people.
func errorPage(e *s3Error, id string) []byte {
	title := fmt.Sprintf("%d %s", e.status, http.StatusText(e.status))
	var b strings.Builder
	fmt.Fprintf(&b, "<html>\n<head><title>%s</title></head>\n<body>\n<h1>%s</h1>\n<ul>\n", title, title)
	for _, d := range append([]detail{{"Code", e.code}, {"Message", e.message}}, append(e.detail, detail{"RequestId", id}, detail{"HostId", id})...) {
		fmt.Fprintf(&b, "<li>%s: %s</li>\n", d.name, html.EscapeString(d.value))
	}
	b.WriteString("</ul>\n<hr/>\n</body>\n</html>\n")
	return []byte(b.String())
}
