package k8sstore_test

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// apiServer is the part of a Kubernetes API server that has ConfigMaps, written from the API
// conventions: optimistic concurrency by resourceVersion, which counts up for all objects in
// common, uids as preconditions, updates that change nothing, and Status objects as errors.
type apiServer struct {
	*httptest.Server

	mu        sync.Mutex
	namespace string // the only one that exists
	token     string // if not empty, what a request must have
	verbs     string // what the token may do
	revision  int
	objects   map[string]object // by name

	throttled  int                 // so many requests get a 429 before anything is done
	retryAfter string              // what they are told, if not empty
	replies    func(method string) // if not nil, is called after each request is done, and may panic
	held       chan struct{}       // if not nil, nothing is answered until it is closed
	requests   []string            // the methods of all
}

type object struct {
	APIVersion string            `json:"apiVersion"`
	Kind       string            `json:"kind"`
	Metadata   map[string]any    `json:"metadata"`
	Data       map[string]string `json:"data,omitempty"`
	BinaryData map[string][]byte `json:"binaryData,omitempty"`
}

func (o object) text(field string) string {
	text, _ := o.Metadata[field].(string)
	return text
}

// newAPIServer starts a server whose only namespace is orders.
func newAPIServer(t *testing.T) *apiServer {
	s := &apiServer{
		namespace: "orders", verbs: "get create update delete",
		revision: 1000, objects: map[string]object{}, retryAfter: "3",
	}
	s.Server = httptest.NewUnstartedServer(s)
	t.Cleanup(func() {
		s.CloseClientConnections() // of what is held
		s.Close()
	})
	return s
}

var path = regexp.MustCompile(`^/api/v1/namespaces/([^/]+)/configmaps(?:/([^/]+))?$`)

// ServeHTTP implements http.Handler.
func (s *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	s.mu.Lock()
	held := s.held
	s.mu.Unlock()
	if held != nil {
		<-held
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, r.Method)
	code, answer := s.answer(r, body)
	if s.replies != nil {
		s.replies(r.Method)
	}
	w.Header().Set("Content-Type", "application/json")
	if code == http.StatusTooManyRequests && s.retryAfter != "" {
		w.Header().Set("Retry-After", s.retryAfter)
	}
	w.WriteHeader(code)
	json.NewEncoder(w).Encode(answer)
}

func (s *apiServer) answer(r *http.Request, body []byte) (code int, answer any) {
	if s.throttled > 0 {
		s.throttled--
		return failure(429, "TooManyRequests", "", "", "too many requests")
	}
	if s.token != "" && r.Header.Get("Authorization") != "Bearer "+s.token {
		return failure(401, "Unauthorized", "", "", "Unauthorized")
	}
	match := path.FindStringSubmatch(r.URL.Path)
	verb := map[string]string{"GET": "get", "POST": "create", "PUT": "update", "DELETE": "delete"}[r.Method]
	if match == nil || verb == "" || (match[2] == "") != (verb == "create") {
		return 404, "404 page not found"
	}
	if !strings.Contains(s.verbs, verb) {
		return failure(403, "Forbidden", "configmaps", match[2],
			fmt.Sprintf("configmaps %q is forbidden: User cannot %s resource \"configmaps\"", match[2], verb))
	}
	if verb == "get" || verb == "delete" {
		found, ok := s.objects[match[2]]
		if match[1] != s.namespace || !ok {
			return failure(404, "NotFound", "configmaps", match[2], fmt.Sprintf("configmaps %q not found", match[2]))
		}
		if verb == "delete" {
			s.revision++
			delete(s.objects, match[2])
		}
		return 200, found
	}
	var given object
	if json.Unmarshal(body, &given) != nil || given.APIVersion != "v1" || given.Kind != "ConfigMap" ||
		r.Header.Get("Content-Type") != "application/json" {
		return failure(400, "BadRequest", "", "", "the object is not a ConfigMap")
	}
	if verb == "create" {
		return s.create(match[1], given)
	}
	return s.update(match[1], match[2], given)
}

var (
	subdomain = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)
	fieldName = regexp.MustCompile(`^[-._a-zA-Z0-9]+$`)
)

func (s *apiServer) create(namespace string, given object) (code int, answer any) {
	name := given.text("name")
	if given.text("resourceVersion") != "" {
		return failure(400, "BadRequest", "", "", "resourceVersion should not be set on objects to be created")
	}
	if namespace != s.namespace {
		return failure(404, "NotFound", "namespaces", namespace, fmt.Sprintf("namespaces %q not found", namespace))
	}
	if problem := invalid(given); problem != "" {
		return failure(422, "Invalid", "ConfigMap", name, problem)
	}
	if _, ok := s.objects[name]; ok {
		return failure(409, "AlreadyExists", "configmaps", name, fmt.Sprintf("configmaps %q already exists", name))
	}
	given.Metadata["uid"] = rand.Text()
	return 201, s.store(namespace, given)
}

func (s *apiServer) update(namespace, name string, given object) (code int, answer any) {
	if given.text("name") != name {
		return failure(400, "BadRequest", "", "", "the name of the object does not match the name on the URL")
	}
	stored, ok := s.objects[name]
	if namespace != s.namespace || !ok {
		return failure(404, "NotFound", "configmaps", name, fmt.Sprintf("configmaps %q not found", name))
	}
	if problem := invalid(given); problem != "" {
		return failure(422, "Invalid", "ConfigMap", name, problem)
	}
	conflict := ""
	if uid := given.text("uid"); uid != "" && uid != stored.text("uid") {
		conflict = "Precondition failed: UID in precondition: " + uid + ", UID in object meta: " + stored.text("uid")
	} else if version := given.text("resourceVersion"); version != "" && version != stored.text("resourceVersion") {
		conflict = "the object has been modified; please apply your changes to the latest version and try again"
	}
	if conflict != "" {
		return failure(409, "Conflict", "configmaps", name,
			fmt.Sprintf("Operation cannot be fulfilled on configmaps %q: %s", name, conflict))
	}
	for _, field := range []string{"uid", "resourceVersion", "namespace"} {
		given.Metadata[field] = stored.Metadata[field]
	}
	if reflect.DeepEqual(given, stored) {
		return 200, stored
	}
	return 200, s.store(namespace, given)
}

func (s *apiServer) store(namespace string, given object) object {
	s.revision++
	given.Metadata["namespace"] = namespace
	given.Metadata["resourceVersion"] = strconv.Itoa(s.revision)
	stored := given
	stored.Metadata = maps.Clone(given.Metadata)
	s.objects[given.text("name")] = stored
	return stored
}

func invalid(given object) string {
	if name := given.text("name"); len(name) > 253 || !subdomain.MatchString(name) {
		return "metadata.name: a lowercase RFC 1123 subdomain is required"
	}
	annotations, size := 0, 0
	texts, _ := given.Metadata["annotations"].(map[string]any)
	for name, value := range texts {
		text, ok := value.(string)
		if !ok || len(name) > 63 {
			return "metadata.annotations: invalid"
		}
		annotations += len(name) + len(text)
	}
	for field, value := range given.BinaryData {
		if !fieldName.MatchString(field) {
			return "binaryData: invalid key"
		}
		size += len(value)
	}
	if annotations > 256<<10 || size > 1<<20 {
		return "Too long"
	}
	return ""
}

func failure(code int, reason, kind, name, message string) (int, any) {
	return code, map[string]any{
		"kind": "Status", "apiVersion": "v1", "metadata": map[string]any{}, "status": "Failure",
		"message": message, "reason": reason, "code": code, "details": map[string]any{"name": name, "kind": kind},
	}
}
