package authenticator

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
)

// parsePrivateKey returns the RSA key in a PEM file, or the reason why it finds none. The reason
// names the kind of what is in the file and quotes nothing of it.
func parsePrivateKey(file []byte) (key *rsa.PrivateKey, reason string) {
	found := ""
	file = bytes.TrimPrefix(file, []byte(byteOrderMark))
	for rest := file; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "" {
			return nil, "PrivateKey is encrypted: write it without a passphrase (openssl pkey -in key.pem -out plain.pem), " +
				"or decrypt it in a Signer"
		}
		switch block.Type {
		case "RSA PRIVATE KEY":
			if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
				return key, ""
			}
			return nil, "PrivateKey is broken: it does not hold what its first line says"
		case "PRIVATE KEY":
			parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
			if err != nil {
				return nil, "PrivateKey is broken: it does not hold what its first line says"
			}
			if key, ok := parsed.(*rsa.PrivateKey); ok {
				return key, ""
			}
			return nil, fmt.Sprintf("PrivateKey is %T: Salesforce takes RSA only", parsed)
		case "EC PRIVATE KEY", "DSA PRIVATE KEY":
			return nil, "PrivateKey is not RSA: Salesforce takes RSA only"
		case "OPENSSH PRIVATE KEY":
			return nil, "PrivateKey is in the form of OpenSSH: convert a copy (ssh-keygen -p -m PEM -N '' -f key)"
		case "CERTIFICATE":
			found = ": there is a certificate, which belongs to the app in Salesforce"
		case "PUBLIC KEY", "RSA PUBLIC KEY":
			found = ": there is a public key"
		}
	}
	switch {
	case found != "":
	case bytes.Contains(file, []byte("PRIVATE KEY-----")):
		found = ": what begins like one is cut off, or its lines are joined, indented or in quotes"
	case !bytes.Contains(file, []byte("\n")):
		found = ": it is the file's text, not its path (as for SALESFORCE_PRIVATE_KEY_FILE)"
	}
	return nil, "PrivateKey holds no private key in PEM (-----BEGIN PRIVATE KEY-----)" + found
}
