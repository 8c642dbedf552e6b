package k8sstore_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/replaystore/k8sstore"
	"github.com/sfstream/sfstream-go/replaystore/replaystoretest"
)

// start starts the server and returns a register in it.
func start(t *testing.T, server *apiServer, opts ...k8sstore.Option) *k8sstore.Register {
	t.Helper()
	server.Start()
	register, err := k8sstore.New(k8sstore.Config{Client: server.Client(), Server: server.URL, Namespace: "orders"}, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return register
}

func put(t *testing.T, register replaystore.Register, key, value, rev string) string {
	t.Helper()
	rev, err := register.Put(t.Context(), key, []byte(value), rev)
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

func get(t *testing.T, register replaystore.Register, key string) (value, rev string) {
	t.Helper()
	stored, rev, err := register.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	return string(stored), rev
}

// only returns the name of the server's only object.
func (s *apiServer) only(t *testing.T) string {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.objects) != 1 {
		t.Fatalf("the server has %d objects, want one", len(s.objects))
	}
	for name := range s.objects {
		return name
	}
	return ""
}

func TestRegister(t *testing.T) {
	replaystoretest.RunRegister(t, func(t *testing.T) replaystore.Register {
		server := newAPIServer(t)
		return operated{start(t, server), server}
	})
}

// operated is a register with what an operator can do to it.
type operated struct {
	*k8sstore.Register
	server *apiServer
}

// Delete deletes the ConfigMap of a key by other means.
func (o operated) Delete(_ context.Context, key string) error {
	o.server.mu.Lock()
	defer o.server.mu.Unlock()
	for name, stored := range o.server.objects {
		annotations, _ := stored.Metadata["annotations"].(map[string]any)
		if quoted := strconv.Quote(key); annotations["sfstream/key"] == quoted[1:len(quoted)-1] {
			delete(o.server.objects, name)
		}
	}
	return nil
}

// Stall lets the server answer nothing.
func (o operated) Stall() (resume func()) {
	held := make(chan struct{})
	o.server.mu.Lock()
	defer o.server.mu.Unlock()
	o.server.held = held
	return func() {
		o.server.mu.Lock()
		defer o.server.mu.Unlock()
		o.server.held = nil
		close(held)
	}
}

// The server leaves an object as it is, and its resourceVersion, if an update changes nothing.
func TestARevisionDoesNotComeAgainWhereTheSameValueIsPut(t *testing.T) {
	register := start(t, newAPIServer(t))
	first := put(t, register, "key", "value", "")
	second := put(t, register, "key", "value", first)
	if first == second {
		t.Fatalf("both puts gave revision %s", first)
	}
	if _, err := register.Put(t.Context(), "key", []byte("value"), first); !errors.Is(err, replaystore.ErrConflict) {
		t.Errorf("put with the first revision: %v, want ErrConflict", err)
	}
}

// A restored etcd counts resourceVersions again; a deleted object leaves none behind.
func TestAnObjectThatIsCreatedAgainNeverMatches(t *testing.T) {
	server := newAPIServer(t)
	register := start(t, server)
	before := put(t, register, "key", "value", "")
	server.mu.Lock()
	server.revision--
	clear(server.objects)
	server.mu.Unlock()
	if _, err := register.Put(t.Context(), "key", []byte("mine"), before); !errors.Is(err, replaystore.ErrConflict) {
		t.Errorf("put where the object is gone: %v, want ErrConflict", err)
	}
	again := put(t, register, "key", "another's", "")
	if _, version, _ := strings.Cut(before, "/"); !strings.HasSuffix(again, "/"+version) {
		t.Fatalf("revisions %s and %s: the test proves nothing", before, again)
	}
	if _, err := register.Put(t.Context(), "key", []byte("mine"), before); !errors.Is(err, replaystore.ErrConflict) {
		t.Errorf("put over another object with the same resourceVersion: %v, want ErrConflict", err)
	}
}

func TestAPutWithARevisionOfAnotherEngineChangesNothing(t *testing.T) {
	register := start(t, newAPIServer(t))
	rev := put(t, register, "key", "value", "")
	uid, version, _ := strings.Cut(rev, "/")
	for _, wrong := range []string{uid, version, uid + "/", "/" + version, "17-00ff"} {
		if _, err := register.Put(t.Context(), "key", nil, wrong); !errors.Is(err, replaystore.ErrConflict) {
			t.Errorf("put with revision %q: %v, want ErrConflict", wrong, err)
		}
	}
	if value, stored := get(t, register, "key"); value != "value" || stored != rev {
		t.Errorf("got %q, %s", value, stored)
	}
}

func TestAPutWhoseReplyIsLostHasHappened(t *testing.T) {
	server := newAPIServer(t)
	register := start(t, server)
	rev := put(t, register, "key", "before", "")
	server.replies = func(method string) {
		if method == http.MethodPut {
			panic(http.ErrAbortHandler)
		}
	}
	_, err := register.Put(t.Context(), "key", []byte("after"), rev)
	if err == nil || errors.Is(err, replaystore.ErrConflict) {
		t.Fatalf("put without a reply: %v, want an error that says neither", err)
	}
	if value, stored := get(t, register, "key"); value != "after" || stored == rev {
		t.Errorf("got %q, %s", value, stored)
	}
}

func TestAThrottledRequestIsSentAgainWhenTheServerSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newAPIServer(t)
		config := k8sstore.Config{Client: &http.Client{Transport: direct{server}}, Server: "https://api", Namespace: "orders"}
		register, err := k8sstore.New(config)
		if err != nil {
			t.Fatal(err)
		}
		server.throttled = 2
		begin := time.Now()
		put(t, register, "key", "value", "")
		if waited := time.Since(begin); waited != 6*time.Second {
			t.Errorf("put after %v, want twice the 3 seconds that the server asked for", waited)
		}
		if want := []string{"POST", "POST", "POST"}; !slices.Equal(server.requests, want) {
			t.Errorf("requests %v, want %v", server.requests, want)
		}

		server.throttled = 1
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begin = time.Now()
		_, _, err = register.Get(ctx, "key")
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "HTTP 429: too many requests") {
			t.Errorf("get with a ctx that ends before: %v", err)
		}
		if waited := time.Since(begin); waited != time.Second {
			t.Errorf("get returned after %v, its ctx ended after a second", waited)
		}

		server.throttled, server.retryAfter = 1, ""
		if _, _, err := register.Get(t.Context(), "key"); err == nil || errors.Is(err, replaystore.ErrNotFound) {
			t.Errorf("get where the server does not say when: %v, want an error", err)
		}
	})
}

// direct serves requests without a network, whose waits are not of virtual time.
type direct struct{ http.Handler }

// RoundTrip implements http.RoundTripper.
func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body == nil {
		r.Body = http.NoBody
	}
	recorder := httptest.NewRecorder()
	d.ServeHTTP(recorder, r)
	return recorder.Result(), nil
}

func TestCallsEndWithTheirContextWhereTheServerIsSilent(t *testing.T) {
	server := newAPIServer(t)
	register := start(t, server)
	rev := put(t, register, "key", "value", "")
	held := make(chan struct{})
	server.mu.Lock()
	server.held = held
	server.mu.Unlock()
	defer close(held)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, _, getErr := register.Get(ctx, "key")
	_, putErr := register.Put(ctx, "key", nil, rev)
	for _, err := range []error{getErr, putErr} {
		if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, replaystore.ErrNotFound) || errors.Is(err, replaystore.ErrConflict) {
			t.Errorf("error %v, want a deadline and no more", err)
		}
	}
}

// Only what the API itself says of the object means that there is none.
func TestWhatCannotBeReadIsNotTakenForNone(t *testing.T) {
	namespace := func(s *apiServer) { s.namespace = "others" }
	for name, test := range map[string]struct {
		arrange func(*apiServer)
		get     string // what the error of Get has; ErrNotFound if empty
		put     string
	}{
		"no permission": {func(s *apiServer) { s.verbs = "" }, "needs get, create and update", "needs get, create and update"},
		"a wrong token": {func(s *apiServer) { s.token = "secret" }, "the token is not accepted", "the token is not accepted"},
		"no namespace":  {namespace, "", `namespaces "orders" not found`},
		"not the API": {func(s *apiServer) {
			s.Config.Handler = http.NotFoundHandler()
		}, "is this the API server", "is this the API server"},
		"a page": {func(s *apiServer) {
			s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>") })
		}, "no object of the Kubernetes API", "no object of the Kubernetes API"},
		"another object": {func(s *apiServer) {
			s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"kind":"Status"}`) })
		}, "no ConfigMap", "no ConfigMap"},
		"a path that the API does not know": {func(s *apiServer) {
			s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(404)
				io.WriteString(w, `{"kind":"Status","message":"the server could not find the requested resource",`+
					`"reason":"NotFound","details":{},"code":404}`)
			})
		}, "could not find", "could not find"},
		"a quota that changes": {func(s *apiServer) {
			s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(409)
				io.WriteString(w, `{"kind":"Status","message":"changed","reason":"Conflict",`+
					`"details":{"name":"compute","kind":"resourcequotas"}}`)
			})
		}, "HTTP 409: changed", "HTTP 409: changed"},
	} {
		t.Run(name, func(t *testing.T) {
			server := newAPIServer(t)
			test.arrange(server)
			register := start(t, server)
			_, _, err := register.Get(t.Context(), "a key")
			if test.get == "" {
				if !errors.Is(err, replaystore.ErrNotFound) {
					t.Errorf("get: %v, want ErrNotFound", err)
				}
			} else {
				refuses(t, err, test.get)
			}
			_, err = register.Put(t.Context(), "a key", nil, "")
			refuses(t, err, test.put)
		})
	}
}

// refuses demands an error that is neither ErrNotFound nor ErrConflict, says want, and names the key.
func refuses(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || errors.Is(err, replaystore.ErrNotFound) || errors.Is(err, replaystore.ErrConflict) ||
		!strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), `"a key"`) {
		t.Errorf("%v\nwant an error that has %q and names the key", err, want)
	}
}

func TestAnObjectOfOthersIsNotTakenForAValue(t *testing.T) {
	server := newAPIServer(t)
	register := start(t, server)
	put(t, register, "a key", "value", "")
	name := server.only(t)
	stored := server.objects[name]
	for what, change := range map[string]func(*object){
		"no value":    func(o *object) { o.BinaryData = nil },
		"another key": func(o *object) { o.Metadata = map[string]any{"name": name, "uid": "1", "resourceVersion": "1"} },
	} {
		changed := stored
		change(&changed)
		server.objects[name] = changed
		if _, _, err := register.Get(t.Context(), "a key"); err == nil || !strings.Contains(err.Error(), "not made by k8sstore") {
			t.Errorf("%s: %v, want an error", what, err)
		}
	}
}

func TestNamesAndAnnotationsAreValidForEachKey(t *testing.T) {
	server := newAPIServer(t)
	prefix := strings.Repeat("p", 200)
	register := start(t, server, k8sstore.WithPrefix(prefix))
	keys := []string{"", "00D/event/Order__e", "00D/EVENT/order__e", "\x00\xff\"\\", strings.Repeat("\xff", 1024), "Größe"}
	for _, key := range keys {
		put(t, register, key, "of "+key, "")
	}
	for _, key := range keys {
		if value, _ := get(t, register, key); value != "of "+key {
			t.Errorf("key %q has %q", key, value)
		}
	}
	if len(server.objects) != len(keys) {
		t.Errorf("the server has %d objects of %d keys", len(server.objects), len(keys))
	}
	other, err := k8sstore.New(k8sstore.Config{Client: server.Client(), Server: server.URL + "/", Namespace: "orders"})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := other.Get(t.Context(), keys[0]); !errors.Is(err, replaystore.ErrNotFound) {
		t.Errorf("get with another prefix: %v, want ErrNotFound", err)
	}
}

func TestNewNamesWhatIsWrong(t *testing.T) {
	config := k8sstore.Config{Client: http.DefaultClient, Server: "https://10.0.0.1", Namespace: "orders"}
	with := func(change func(*k8sstore.Config)) k8sstore.Config {
		changed := config
		change(&changed)
		return changed
	}
	for want, config := range map[string]k8sstore.Config{
		"Config.Client is nil":         with(func(c *k8sstore.Config) { c.Client = nil }),
		`Config.Server ""`:             with(func(c *k8sstore.Config) { c.Server = "" }),
		`Config.Server "10.0.0.1:443"`: with(func(c *k8sstore.Config) { c.Server = "10.0.0.1:443" }),
		`Config.Namespace ""`:          with(func(c *k8sstore.Config) { c.Namespace = "" }),
		`Config.Namespace "../x"`:      with(func(c *k8sstore.Config) { c.Namespace = "../x" }),
	} {
		if _, err := k8sstore.New(config); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want an error with %q", err, want)
		}
	}
	for _, prefix := range []string{"", "Sfstream-", "-a", "a/", strings.Repeat("p", 201)} {
		if _, err := k8sstore.New(config, k8sstore.WithPrefix(prefix)); (err == nil) != (prefix == "") {
			t.Errorf("prefix %q: %v", prefix, err)
		}
	}
}
