package target

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/shoal-storage/shoal/internal/events"
)

// webhook posts each event to a URL.
type webhook struct {
	client        *http.Client
	endpoint      string
	authorization string
}

const (
	maxIdle     = 32 // connections that are kept
	idleTime    = time.Minute
	drainAnswer = 64 << 10 // bytes
)

func openWebhook(_ context.Context, s Settings) (events.Sender, error) {
	endpoint, err := s.required("endpoint")
	if err != nil {
		return nil, err
	}
	if u, err := url.Parse(endpoint); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, errors.New("endpoint is not a URL of http or https")
	}
	config, err := s.tls()
	if err != nil {
		return nil, err
	}
	w := &webhook{endpoint: endpoint, authorization: s["auth_token"]}
	if w.authorization != "" && !strings.Contains(w.authorization, " ") {
		w.authorization = "Bearer " + w.authorization
	}
	w.client = &http.Client{Transport: &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: config, ForceAttemptHTTP2: true,
		MaxIdleConns: maxIdle, MaxIdleConnsPerHost: maxIdle, IdleConnTimeout: idleTime,
	}}
	return w, nil
}

// Send implements events.Sender.
func (w *webhook) Send(ctx context.Context, m *events.Message) error {
	body, err := m.Body()
	if err != nil {
		return err
	}
	return w.SendDocument(ctx, m.Object(), body)
}

// SendDocument implements Plain.
func (w *webhook) SendDocument(ctx context.Context, _ string, document []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.endpoint, bytes.NewReader(document))
	if err != nil {
		return errors.New("post: the endpoint is not valid")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "Shoal")
	if w.authorization != "" {
		req.Header.Set("Authorization", w.authorization)
	}
	resp, err := w.client.Do(req)
	if err != nil {
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err // the URL may be a secret
		}
		return fmt.Errorf("post: %w", err)
	}
	_, _ = io.CopyN(io.Discard, resp.Body, drainAnswer) // so that the connection can be used again
	_ = resp.Body.Close()                               // the status says all
	switch code := resp.StatusCode; {
	case code >= 200 && code < 300:
		return nil
	case isRefusal(code):
		return fmt.Errorf("post: the answer is %s: %w", resp.Status, events.ErrRefused)
	default:
		return fmt.Errorf("post: the answer is %s", resp.Status)
	}
}

// isRefusal reports whether a status is about what was sent. The others of 4xx tell of
// an endpoint that is set up wrongly, and may be right later.
func isRefusal(status int) bool {
	switch status {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity:
		return true
	}
	return false
}

// Close implements events.Sender.
func (w *webhook) Close() error {
	w.client.CloseIdleConnections()
	return nil
}
