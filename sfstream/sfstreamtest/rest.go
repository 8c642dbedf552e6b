package sfstreamtest

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// mountREST adds what Streaming API clients ask the REST API.
func (s *Server) mountREST(mux *http.ServeMux) {
	mux.HandleFunc("GET /services/data/{$}", s.listVersions)
	mux.HandleFunc("GET /services/data", s.listVersions)
}

type apiVersion struct {
	Label   string `json:"label"`
	URL     string `json:"url"`
	Version string `json:"version"`
}

// listVersions is the list of API versions, the newest one last. It needs no login.
func (s *Server) listVersions(w http.ResponseWriter, _ *http.Request) {
	list := []apiVersion{}
	for _, v := range s.config.cometd.versions {
		list = append(list, apiVersion{Label: release(v), URL: "/services/data/v" + v, Version: v})
	}
	writeJSON(w, http.StatusOK, list)
}

// release is the name of a version: three a year, 66.0 was Spring '26.
func release(version string) string {
	whole, _, _ := strings.Cut(version, ".")
	n, err := strconv.Atoi(whole)
	if err != nil {
		return version
	}
	return fmt.Sprintf("%s '%02d", [...]string{"Spring", "Summer", "Winter"}[(n%3+3)%3], (n+1)/3+4)
}
