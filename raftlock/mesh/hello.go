package mesh

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/big"
	"time"
)

// Versions of what is spoken after the hello. A node speaks with those whose
// span overlaps its own.
const (
	oldestVersion = 1
	newestVersion = 1
)

const (
	magic     = "shoalmesh"
	maxHello  = 512 // bytes
	minSecret = 16  // bytes
	// maxSecrets is how many a node can know: while it is being changed everybody comes to know
	// the new one beside the old one, and then the new one alone.
	maxSecrets = 2
	exporter   = "EXPORTER-shoal-mesh-1"
)

// The roles; a proof of one is none of the other, so none can be sent back.
const (
	roleClient = "client"
	roleServer = "server"
)

// hello is the first frame of each end.
type hello struct {
	oldest, newest uint32
	cluster, node  string
	proofs         [maxSecrets][]byte // of each secret that the node knows
}

// writeHello says who this node is, and proves it.
func (m *Mesh) writeHello(t *tls.Conn, role string) error {
	h := hello{oldest: oldestVersion, newest: newestVersion, cluster: m.cfg.Cluster, node: m.cfg.Node}
	for i, secret := range m.cfg.Secrets {
		var err error
		if h.proofs[i], err = prove(t, secret, role, h); err != nil {
			return err
		}
	}
	if _, err := t.Write(h.encode()); err != nil {
		return fmt.Errorf("say hello: %w", err)
	}
	return nil
}

// readHello reads who the other end is, and verifies it.
func (m *Mesh) readHello(t *tls.Conn, role string) (hello, error) {
	h, err := decodeHello(t)
	if err != nil {
		return h, err
	}
	known := false
	for _, secret := range m.cfg.Secrets {
		want, err := prove(t, secret, role, h)
		if err != nil {
			return h, err
		}
		for _, proof := range h.proofs {
			known = hmac.Equal(want, proof) || known
		}
	}
	switch {
	case !known:
		return h, fmt.Errorf("%w: it does not know the cluster's secret", ErrRefused)
	case h.cluster != m.cfg.Cluster:
		return h, fmt.Errorf("%w: it is of the cluster %q", ErrRefused, h.cluster)
	case h.newest < oldestVersion || h.oldest > newestVersion:
		return h, fmt.Errorf("%w: it speaks the versions %d to %d, this node %d to %d", ErrRefused, h.oldest, h.newest, oldestVersion, newestVersion)
	}
	return h, nil
}

// prove returns the proof of a hello on a connection.
func prove(t *tls.Conn, secret []byte, role string, h hello) ([]byte, error) {
	state := t.ConnectionState()
	material, err := state.ExportKeyingMaterial(exporter, []byte(role), sha256.Size)
	if err != nil {
		return nil, fmt.Errorf("export keying material: %w", err)
	}
	mac := hmac.New(sha256.New, secret)
	mac.Write(material)
	h.proofs = [maxSecrets][]byte{}
	mac.Write(h.encode())
	return mac.Sum(nil), nil
}

// encode returns the frame of a hello: its length, and behind it the fields.
func (h hello) encode() []byte {
	b := append(make([]byte, 2, 256), magic...)
	b = binary.BigEndian.AppendUint32(b, h.oldest)
	b = binary.BigEndian.AppendUint32(b, h.newest)
	fields := []string{h.cluster, h.node}
	for i, proof := range h.proofs {
		if i == 0 || len(proof) > 0 {
			fields = append(fields, string(proof))
		}
	}
	for _, field := range fields {
		b = append(b, byte(len(field)))
		b = append(b, field[:min(len(field), 255)]...)
	}
	binary.BigEndian.PutUint16(b, uint16(len(b)-2)) //nolint:gosec // at most 3 * 256 and a bit
	return b
}

var errNoHello = errors.New("what came is no hello of a node")

// decodeHello reads the frame of a hello. Fields that a later version appends
// are left out.
func decodeHello(r io.Reader) (h hello, err error) {
	var length [2]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return h, fmt.Errorf("read hello: %w", err)
	}
	n := int(binary.BigEndian.Uint16(length[:]))
	if n > maxHello {
		return h, errNoHello
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return h, fmt.Errorf("read hello: %w", err)
	}
	if len(b) < len(magic)+8 || string(b[:len(magic)]) != magic {
		return h, errNoHello
	}
	b = b[len(magic):]
	h.oldest, h.newest, b = binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:]), b[8:]
	var fields [2 + maxSecrets]string
	for i := range fields {
		if len(b) == 0 && i > 2 {
			break // a version that knows one secret
		}
		if len(b) < 1 || len(b) < 1+int(b[0]) {
			return h, errNoHello
		}
		fields[i], b = string(b[1:1+int(b[0])]), b[1+int(b[0]):]
	}
	h.cluster, h.node = fields[0], fields[1]
	for i := range h.proofs {
		h.proofs[i] = []byte(fields[2+i])
	}
	return h, nil
}

// makeCertificate makes a certificate for this process. Nobody believes it.
func makeCertificate() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Unix(0, 0), NotAfter: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
