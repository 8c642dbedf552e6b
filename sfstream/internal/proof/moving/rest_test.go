package moving

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
)

// The helpers for REST of others are Do and Query.
func TestREST(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, org := t.Context(), newOrg(t)
		client := open(t, org)
		body := strings.NewReader(`{"Name": "Acme"}`)
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "sobjects/Account", body)
		lab.Must(t, err)
		resp, err := client.Do(req)
		lab.Must(t, err)
		answer, err := io.ReadAll(resp.Body)
		lab.Must(t, err)
		lab.Must(t, resp.Body.Close())
		lab.Contains(t, string(answer), `"success":true`)
		for record, err := range client.Query(ctx, "SELECT Id, Name FROM Account") {
			lab.Must(t, err)
			fields, err := record.Fields()
			lab.Must(t, err)
			expect(t, "record", fields["Name"], "Acme")
		}
	})
}
