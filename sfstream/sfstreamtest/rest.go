package sfstreamtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

// restState is what the org keeps for the REST API.
type restState struct {
	cursors    cursors
	usage      usage
	restFaults restFaults

	// setup is held while requests change what the org is: two that create the same cannot both
	// succeed.
	setup sync.Mutex
}

// mountREST adds the parts of the REST API that clients of events use: records and what is known of
// objects, limits, and the records of the Streaming API's channels. It accepts any version in the
// path.
func (s *Server) mountREST(mux *http.ServeMux) {
	const base = "/services/data/{version}/"
	open := map[string]http.HandlerFunc{"GET /services/data/{$}": s.listVersions, "GET /services/data": s.listVersions}
	for pattern, do := range open {
		mux.HandleFunc(pattern, s.faulty(do))
	}
	for pattern, do := range map[string]func(*http.Request) (int, any, error){
		"GET " + base + "{$}":                                 s.listResources,
		"GET /services/data/{version}":                        s.listResources,
		"GET " + base + "limits/{$}":                          s.listLimits,
		"GET " + base + "limits":                              s.listLimits,
		"GET " + base + "query/{$}":                           s.queryRecords,
		"GET " + base + "query":                               s.queryRecords,
		"GET " + base + "query/{locator}":                     s.moreRecords,
		"GET " + base + "queryAll/{$}":                        s.queryAllRecords,
		"GET " + base + "queryAll":                            s.queryAllRecords,
		"GET " + base + "queryAll/{locator}":                  s.moreRecords,
		"GET " + base + "tooling/query/{$}":                   s.toolingQuery,
		"GET " + base + "tooling/query":                       s.toolingQuery,
		"GET " + base + "tooling/sobjects/{object}/describe":  s.describeTooling,
		"POST " + base + "tooling/sobjects/{object}/{$}":      s.createTooling,
		"POST " + base + "tooling/sobjects/{object}":          s.createTooling,
		"GET " + base + "tooling/sobjects/{object}/{id}":      s.getTooling,
		"PATCH " + base + "tooling/sobjects/{object}/{id}":    s.updateTooling,
		"DELETE " + base + "tooling/sobjects/{object}/{id}":   s.deleteTooling,
		"POST " + base + "tooling/sobjects/{object}/{id}":     s.overriddenTooling,
		"GET " + base + "sobjects/{$}":                        s.listObjects,
		"GET " + base + "sobjects":                            s.listObjects,
		"POST " + base + "sobjects/{object}/{$}":              s.createRecord,
		"POST " + base + "sobjects/{object}":                  s.createRecord,
		"GET " + base + "sobjects/{object}/describe/{$}":      s.describeObject,
		"GET " + base + "sobjects/{object}/describe":          s.describeObject,
		"GET " + base + "sobjects/{object}/deleted/{$}":       s.deletedRecords,
		"GET " + base + "sobjects/{object}/deleted":           s.deletedRecords,
		"GET " + base + "sobjects/{object}/updated/{$}":       s.updatedRecords,
		"GET " + base + "sobjects/{object}/updated":           s.updatedRecords,
		"GET " + base + "sobjects/{object}/{id}":              s.getRecord,
		"PATCH " + base + "sobjects/{object}/{id}":            s.updateRecord,
		"PATCH " + base + "sobjects/{object}/{field}/{value}": s.upsertRecord,
		"DELETE " + base + "sobjects/{object}/{id}":           s.deleteRecord,
		"POST " + base + "sobjects/{object}/{id}":             s.overriddenMethod,
		"POST " + base + "composite/sobjects/{$}":             s.createRecords,
		"POST " + base + "composite/sobjects":                 s.createRecords,
		"PATCH " + base + "composite/sobjects/{$}":            s.updateRecords,
		"PATCH " + base + "composite/sobjects":                s.updateRecords,
		"DELETE " + base + "composite/sobjects/{$}":           s.deleteRecords,
		"DELETE " + base + "composite/sobjects":               s.deleteRecords,
		"GET " + base + "sobjects/{object}/{id}/push":         s.pushTargets,
		"GET " + base + "sobjects/{object}/{id}/push/{$}":     s.pushTargets,
		"POST " + base + "sobjects/{object}/{id}/push":        s.pushEvents,
		"POST " + base + "sobjects/{object}/{id}/push/{$}":    s.pushEvents,
		"GET " + base + "sobjects/{object}/{$}":               s.objectInfo,
		"GET " + base + "sobjects/{object}":                   s.objectInfo,
		base + "sobjects/{object}/{$}":                        otherMethod("GET,HEAD,POST"),
		base + "sobjects/{object}":                            otherMethod("GET,HEAD,POST"),
		base + "sobjects/{object}/{id}":                       otherMethod("DELETE,GET,HEAD,PATCH"),
		base + "tooling/sobjects/{object}/{id}":               otherMethod("DELETE,GET,HEAD,PATCH"),
		base + "{rest...}":                                    func(*http.Request) (int, any, error) { return 0, nil, notFound() },
	} {
		mux.HandleFunc(pattern, s.faulty(s.rest(do)))
	}
}

// otherMethod answers requests whose method a resource does not have.
func otherMethod(allowed string) func(*http.Request) (int, any, error) {
	return func(r *http.Request) (int, any, error) { return 0, nil, notAllowed(r.Method, allowed) }
}

// rest returns the handler of a request that needs a login. do returns a status, and a reply to be
// sent as JSON unless it is nil.
func (s *Server) rest(do func(*http.Request) (int, any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var failure *restError
		if _, denied := s.bearer(r); denied != "" {
			failure = &restError{http.StatusUnauthorized, "Session expired or invalid", "INVALID_SESSION_ID", nil}
			writeJSON(w, failure.status, []*restError{failure})
			return
		}
		s.usage.use(dailyRequests, 1, s.now())
		w.Header().Set("Sforce-Limit-Info", s.limitInfo())
		status, reply, err := do(r)
		switch {
		case err != nil && !errors.As(err, &failure):
			writeJSON(w, http.StatusBadRequest, []*restError{{Message: err.Error(), Code: "INVALID_FIELD"}})
		case err != nil:
			writeJSON(w, failure.status, []*restError{failure})
		case reply == nil:
			w.WriteHeader(status)
		default:
			writeJSON(w, status, reply)
		}
	}
}

// readBody reads the JSON of a request.
func readBody(r *http.Request, into any) error {
	const most = 4 << 20
	dec := json.NewDecoder(http.MaxBytesReader(nil, r.Body, most))
	dec.UseNumber()
	if err := dec.Decode(into); err != nil {
		return &restError{http.StatusBadRequest, err.Error(), "JSON_PARSER_ERROR", nil}
	}
	return nil
}

// readStrictly reads the JSON of a request, which may have no other fields than into.
func readStrictly(r *http.Request, object string, into any) error {
	var text json.RawMessage
	if err := readBody(r, &text); err != nil {
		return err
	}
	return decodeStrictly(text, object, into)
}

func decodeStrictly(text []byte, object string, into any) error {
	dec := json.NewDecoder(strings.NewReader(string(text)))
	dec.DisallowUnknownFields()
	err := dec.Decode(into)
	if err == nil {
		return nil
	}
	if name, unknown := strings.CutPrefix(err.Error(), "json: unknown field "); unknown {
		return noColumn(strings.Trim(name, `"`), object)
	}
	if wrong := new(json.UnmarshalTypeError); errors.As(err, &wrong) {
		return &restError{http.StatusBadRequest, fmt.Sprintf("Cannot deserialize instance of %s from %s value", wrong.Type, wrong.Value), "JSON_PARSER_ERROR", nil}
	}
	return &restError{http.StatusBadRequest, err.Error(), "JSON_PARSER_ERROR", nil}
}

type apiVersion struct {
	Label   string `json:"label"`
	URL     string `json:"url"`
	Version string `json:"version"`
}

// listVersions answers with the list of API versions, the newest one last. It needs no login.
func (s *Server) listVersions(w http.ResponseWriter, _ *http.Request) {
	list := []apiVersion{}
	for _, v := range s.config.cometd.versions {
		list = append(list, apiVersion{Label: release(v), URL: "/services/data/v" + v, Version: v})
	}
	writeJSON(w, http.StatusOK, list)
}

// listResources answers for the root of a version: the URLs of resources, and who asks.
func (s *Server) listResources(r *http.Request) (int, any, error) {
	ses, _ := s.bearer(r)
	root := "/services/data/" + r.PathValue("version") + "/"
	return http.StatusOK, map[string]string{
		"query": root + "query", "queryAll": root + "queryAll", "sobjects": root + "sobjects", "limits": root + "limits",
		"composite": root + "composite",
		"identity":  s.identityURL(ses.user),
	}, nil
}

// release returns the name of a version: there are three a year, 66.0 was Spring '26.
func release(version string) string {
	whole, _, _ := strings.Cut(version, ".")
	n, err := strconv.Atoi(whole)
	if err != nil {
		return version
	}
	return fmt.Sprintf("%s '%02d", [...]string{"Spring", "Summer", "Winter"}[(n%3+3)%3], (n+1)/3+4)
}
