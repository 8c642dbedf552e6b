package sfstreamtest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"time"
)

// authority is a certificate authority with its private key.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// certificate is the identity of the org's servers, and the authority that vouches for it.
type certificate struct {
	server tls.Certificate
	pool   *x509.CertPool
	pem    []byte // the authority's certificate
}

const (
	caLife     = 10 * 365 * 24 * time.Hour
	serverLife = 365 * 24 * time.Hour // some clients accept no more than 825 days
)

// newCertificate makes an identity for loopback and other hosts. Its authority is the one in the
// file at caPath, or a new one if that is "".
func newCertificate(caPath string, hosts []string) (*certificate, error) {
	var a *authority
	var err error
	if caPath == "" {
		a, err = newAuthority()
	} else {
		a, err = keptAuthority(caPath)
	}
	if err != nil {
		return nil, err
	}
	return a.identity(hosts)
}

func newAuthority() (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template, err := newTemplate("sfstreamtest CA", caLife)
	if err != nil {
		return nil, err
	}
	template.KeyUsage = x509.KeyUsageCertSign
	template.IsCA, template.MaxPathLenZero = true, true
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return &authority{cert, key}, err
}

// newTemplate has what all certificates have. Clocks may differ by a day.
func newTemplate(name string, life time.Duration) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name},
		NotBefore: now.Add(-24 * time.Hour), NotAfter: now.Add(life),
		BasicConstraintsValid: true,
	}, nil
}

// identity makes the identity of a server.
func (a *authority) identity(hosts []string) (*certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template, err := newTemplate("sfstreamtest", serverLife)
	if err != nil {
		return nil, err
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	template.DNSNames = []string{"localhost", "*." + instanceDomain}
	template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return &certificate{
		server: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf},
		pool:   pool,
		pem:    pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}),
	}, nil
}

// keptAuthority returns the authority in a file, which it makes if there is none.
func keptAuthority(path string) (*authority, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		var a *authority
		if a, err = newAuthority(); err == nil {
			err = a.write(path)
		}
		if !errors.Is(err, fs.ErrExist) {
			return a, err
		}
		text, err = os.ReadFile(path) // another org has made it meanwhile
	}
	if err != nil {
		return nil, fmt.Errorf("sfstreamtest: WithCA: %w", err)
	}
	a, err := parseAuthority(text)
	if err == nil && time.Now().Add(24*time.Hour).After(a.cert.NotAfter) {
		err = fmt.Errorf("the certificate ends on %s: delete the file, and clients trust the next one", a.cert.NotAfter.Format(time.DateOnly))
	}
	if err != nil {
		return nil, fmt.Errorf("sfstreamtest: WithCA(%q): %w", path, err)
	}
	return a, nil
}

// write makes a file that only its owner can read. It fails if the file exists.
func (a *authority) write(path string) error {
	der, err := x509.MarshalPKCS8PrivateKey(a.key)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(append(
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})...,
	))
	return errors.Join(err, file.Close())
}

// parseAuthority reads what write has written. Other tools may have made it too, with a key of
// another kind.
func parseAuthority(text []byte) (*authority, error) {
	pair, err := tls.X509KeyPair(text, text)
	if err != nil {
		return nil, errors.New("has no certificate with its private key, both in PEM")
	}
	key, ok := pair.PrivateKey.(crypto.Signer)
	if !ok || pair.Leaf == nil || !pair.Leaf.IsCA {
		return nil, errors.New("its certificate is not one of a certificate authority")
	}
	return &authority{pair.Leaf, key}, nil
}
