package gateway

import "testing"

func TestAConfigurationThatIsFixedTakesWhatIsSo(t *testing.T) {
	f := serveBucket(t)
	for _, tt := range []struct{ query, isSo, isNot string }{
		{"requestPayment", "<RequestPaymentConfiguration><Payer>BucketOwner</Payer></RequestPaymentConfiguration>", "<RequestPaymentConfiguration><Payer>Requester</Payer></RequestPaymentConfiguration>"},
		{"accelerate", "<AccelerateConfiguration><Status>Suspended</Status></AccelerateConfiguration>", "<AccelerateConfiguration><Status>Enabled</Status></AccelerateConfiguration>"},
		{"logging", "<BucketLoggingStatus/>", "<BucketLoggingStatus><LoggingEnabled><TargetBucket>b</TargetBucket></LoggingEnabled></BucketLoggingStatus>"},
	} {
		f.ok(call{method: "PUT", path: "/bucket", query: tt.query, body: tt.isSo})
		f.refused("NotImplemented", call{method: "PUT", path: "/bucket", query: tt.query, body: tt.isNot})
		f.refused("NoSuchBucket", call{method: "PUT", path: "/none-such", query: tt.query, body: tt.isSo})
		f.refused("MalformedXML", call{method: "PUT", path: "/bucket", query: tt.query, body: "<x/>"})
	}
	f.refused("MalformedXML", call{method: "PUT", path: "/bucket", query: "requestPayment", body: "<RequestPaymentConfiguration><Payer>Nobody</Payer></RequestPaymentConfiguration>"})
	f.refused("MalformedXML", call{method: "PUT", path: "/bucket", query: "accelerate", body: "<AccelerateConfiguration><Status>Perhaps</Status></AccelerateConfiguration>"})
	for _, query := range []string{"encryption", "replication", "website"} {
		f.ok(call{method: "DELETE", path: "/bucket", query: query})
		f.refused("NoSuchBucket", call{method: "DELETE", path: "/none-such", query: query})
	}
}
