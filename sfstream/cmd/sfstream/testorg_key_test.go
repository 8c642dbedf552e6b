package main

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// jwtLogin logs in with the private key that the first line names, and returns the identity URL of
// the session.
func (o *org) jwtLogin(t *testing.T) (id string) {
	t.Helper()
	text, err := os.ReadFile(o.PrivateKeyFile)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		t.Fatalf("no PEM: %d bytes", len(text))
	}
	var key any
	if key, err = x509.ParsePKCS8PrivateKey(block.Bytes); err != nil {
		if key, err = x509.ParsePKCS1PrivateKey(block.Bytes); err != nil {
			t.Fatal(err)
		}
	}
	claims, err := json.Marshal(map[string]any{
		"iss": o.ConsumerKey, "sub": o.Username, "aud": o.LoginURL, "exp": time.Now().Add(time.Minute).Unix(),
	})
	if err != nil {
		t.Fatal(err)
	}
	assertion := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS256"}`)) + "." + base64.RawURLEncoding.EncodeToString(claims)
	digest := sha256.Sum256([]byte(assertion))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key.(*rsa.PrivateKey), crypto.SHA256, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	resp, err := o.client.PostForm(o.LoginURL+"/services/oauth2/token", url.Values{
		"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"},
		"assertion":  {assertion + "." + base64.RawURLEncoding.EncodeToString(signature)},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var reply struct{ ID, Error string }
	if err := json.NewDecoder(resp.Body).Decode(&reply); err != nil || reply.ID == "" {
		t.Fatalf("%s: %s, %v", resp.Status, reply.Error, err)
	}
	return reply.ID
}

func TestThePrivateKeyOfTestorg(t *testing.T) {
	o := startOrg(t)
	if id := o.jwtLogin(t); !strings.Contains(id, "/id/"+o.OrgID+"/") {
		t.Errorf("logged in as %s", id)
	}
	info, err := os.Stat(o.PrivateKeyFile)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, %v", info, err)
	}
	if err := o.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for o.lines.Scan() { // reads until testorg has ended
	}
	if _, err := os.Stat(filepath.Dir(o.PrivateKeyFile)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("its folder is left: %v", err)
	}
}

func TestThePrivateKeyOfTestorgInAPlaceOfOnesOwn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.pem")
	var first []byte
	for range 2 { // the first run makes the file, the second uses it
		o := startOrg(t, "-key", path)
		if o.PrivateKeyFile != path {
			t.Errorf("the file is %s", o.PrivateKeyFile)
		}
		o.jwtLogin(t)
		text, err := os.ReadFile(path)
		if err != nil || first != nil && !bytes.Equal(first, text) {
			t.Errorf("another key, %v", err)
		}
		first = text
	}
	// The key may also be in PKCS #1.
	block, _ := pem.Decode(first)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	old := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key.(*rsa.PrivateKey))})
	if err := os.WriteFile(path, old, 0o600); err != nil {
		t.Fatal(err)
	}
	startOrg(t, "-key", path).jwtLogin(t)

	for name, text := range map[string]string{
		"no PEM file":        "key",
		"no RSA private key": "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := program(t, nil, "testorg", "-http", "127.0.0.1:0", "-pubsub", "127.0.0.1:0", "-control", "", "-key", path)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, _ := cmd.Output()
		if cmd.ProcessState.ExitCode() != 1 || len(out) > 0 || !strings.Contains(stderr.String(), name) {
			t.Errorf("exit status %d, stdout %q, stderr %s; want %s", cmd.ProcessState.ExitCode(), out, &stderr, name)
		}
	}
}
