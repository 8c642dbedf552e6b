package k8sstore

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/sfstream/sfstream-go/replaystore"
)

// Config says where the ConfigMaps are. All fields are required.
type Config struct {
	// Client authenticates each request, and trusts the server's certificate.
	Client *http.Client

	// Server is the URL of the API server, such as https://10.0.0.1:443. It may have a path.
	Server string

	// Namespace is where the ConfigMaps are. It must exist.
	Namespace string
}

// Register is a [replaystore.Register] in Kubernetes. It is safe for concurrent use, by any number
// of processes.
type Register struct {
	client    *http.Client
	namespace string
	url       string // of the namespace's ConfigMaps
	prefix    string
}

// Option is an option of [New].
type Option func(*Register)

// WithPrefix sets what the names of the ConfigMaps begin with: at most 200 lower case letters,
// digits and '-', and a letter or digit first. The default is "sfstream-". Processes that share a
// register need the same prefix.
func WithPrefix(prefix string) Option {
	return func(r *Register) { r.prefix = prefix }
}

// New returns the register that config describes. It asks the server nothing.
func New(config Config, opts ...Option) (*Register, error) {
	if config.Client == nil {
		return nil, errors.New("k8sstore: Config.Client is nil: use InCluster, or rest.HTTPClientFor of client-go")
	}
	server, err := url.Parse(config.Server)
	if err != nil || server.Host == "" || server.Scheme != "https" && server.Scheme != "http" {
		return nil, fmt.Errorf("k8sstore: Config.Server %q is not a URL that begins with https://", config.Server)
	}
	if !isName(config.Namespace, 63) {
		return nil, fmt.Errorf("k8sstore: Config.Namespace %q is not the name of a namespace", config.Namespace)
	}
	collection := server.JoinPath("api", "v1", "namespaces", config.Namespace, "configmaps")
	r := &Register{client: config.Client, namespace: config.Namespace, url: collection.String(), prefix: "sfstream-"}
	for _, opt := range opts {
		opt(r)
	}
	// What follows the prefix ends in a letter or digit.
	if !isName(r.prefix+"0", 201) {
		return nil, fmt.Errorf("k8sstore: WithPrefix(%q): at most 200 lower case letters, digits and '-', "+
			"and a letter or digit first", r.prefix)
	}
	return r, nil
}

// isName is whether name may be the name of an object: a label of RFC 1123.
func isName(name string, longest int) bool {
	return name != "" && len(name) <= longest && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == "" &&
		name[0] != '-' && name[len(name)-1] != '-'
}

// configMap is what this package reads and writes of the API's object.
type configMap struct {
	APIVersion string            `json:"apiVersion"`
	Kind       string            `json:"kind"`
	Metadata   metadata          `json:"metadata"`
	BinaryData map[string][]byte `json:"binaryData"`
}

type metadata struct {
	Name            string            `json:"name"`
	UID             string            `json:"uid,omitempty"`
	ResourceVersion string            `json:"resourceVersion,omitempty"`
	Labels          map[string]string `json:"labels,omitempty"`
	Annotations     map[string]string `json:"annotations,omitempty"`
}

// What a ConfigMap has. The server does not store an update that changes nothing: its
// resourceVersion would stay, and the revision come again. So each put has a text of its own.
const (
	valueField    = "value"
	keyAnnotation = "sfstream/key"
	putAnnotation = "sfstream/put"
)

// Get implements [replaystore.Register].
func (r *Register) Get(ctx context.Context, key string) (value []byte, rev string, err error) {
	name := r.name(key)
	stored, err := r.request(ctx, http.MethodGet, name, nil)
	if failure := (*apiError)(nil); errors.As(err, &failure) && failure.is("NotFound", name) {
		return nil, "", replaystore.ErrNotFound
	}
	if err != nil {
		return nil, "", r.failed("get", key, err)
	}
	value, ok := stored.BinaryData[valueField]
	if !ok || stored.Metadata.Annotations[keyAnnotation] != shown(key) {
		return nil, "", r.failed("get", key, errors.New("it was not made by k8sstore, or changed by other means: "+
			"use another prefix, or delete it if its marker may be lost"))
	}
	if rev, err = stored.revision(); err != nil {
		return nil, "", r.failed("get", key, err)
	}
	return value, rev, nil
}

// Put implements [replaystore.Register].
func (r *Register) Put(ctx context.Context, key string, value []byte, rev string) (newRev string, err error) {
	name, method, refused := r.name(key), http.MethodPost, "AlreadyExists"
	// An object without a resourceVersion would be updated whatever is stored.
	uid, resourceVersion, ok := strings.Cut(rev, "/")
	if rev != "" {
		if !ok || uid == "" || resourceVersion == "" {
			return "", replaystore.ErrConflict
		}
		method, refused = http.MethodPut, "Conflict"
	}
	stored, err := r.request(ctx, method, name, &configMap{
		APIVersion: "v1",
		Kind:       "ConfigMap",
		Metadata: metadata{
			Name:            name,
			UID:             uid,
			ResourceVersion: resourceVersion,
			Labels:          map[string]string{"app.kubernetes.io/managed-by": "sfstream"},
			Annotations:     map[string]string{keyAnnotation: shown(key), putAnnotation: rand.Text()},
		},
		BinaryData: map[string][]byte{valueField: value},
	})
	if failure := (*apiError)(nil); errors.As(err, &failure) &&
		(failure.is(refused, name) || rev != "" && failure.is("NotFound", name)) {
		return "", replaystore.ErrConflict
	}
	if err == nil {
		newRev, err = stored.revision()
	}
	if err != nil {
		return "", r.failed("put", key, err)
	}
	return newRev, nil
}

// name is the name of the key's ConfigMap. 128 bits of the hash keep different keys apart.
func (r *Register) name(key string) string {
	hash := sha256.Sum256([]byte(key))
	return r.prefix + hex.EncodeToString(hash[:16])
}

// shown is the key as its annotation has it, which must be valid UTF-8: what is not, and what is
// not printed, is escaped as Go does.
func shown(key string) string {
	quoted := strconv.Quote(key)
	return quoted[1 : len(quoted)-1]
}

func (m *configMap) revision() (string, error) {
	if m.Metadata.UID == "" || m.Metadata.ResourceVersion == "" {
		return "", errors.New("the answer has no metadata.uid or no metadata.resourceVersion")
	}
	return m.Metadata.UID + "/" + m.Metadata.ResourceVersion, nil
}

func (r *Register) failed(what, key string, err error) error {
	return fmt.Errorf("k8sstore: %s ConfigMap %s/%s of key %q: %w", what, r.namespace, r.name(key), key, err)
}
