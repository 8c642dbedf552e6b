package channels

import (
	"context"
	"fmt"
	"net/url"
	"strings"
)

// toolingRows returns the records of a query of the Tooling API, of all its pages. A query that
// selects Metadata or FullName may find one record only, so that these are got record by record.
func toolingRows[Row any](ctx context.Context, r rest, soql string) (rows []Row, err error) {
	path, query := "tooling/query", url.Values{"q": {soql}}
	for seen := map[string]bool{}; ; seen[path] = true {
		var page struct {
			Records []Row  `json:"records"`
			Next    string `json:"nextRecordsUrl"`
			Done    bool   `json:"done"`
		}
		if _, err := r.get(ctx, path, query, &page); err != nil {
			return nil, err
		}
		rows = append(rows, page.Records...)
		switch {
		case page.Done && page.Next == "":
			return rows, nil
		case !strings.HasPrefix(page.Next, "/services/data/"), seen[page.Next]:
			return nil, fmt.Errorf("%s: %w: it is not the last page, and names no next one", path, errUnread)
		}
		path, query = page.Next, nil
	}
}

// metadata is the body of what a record of the Tooling API is changed with. Salesforce takes no part
// of it: what it does not have is cleared.
type metadata struct {
	FullName string         `json:"FullName"`
	Metadata map[string]any `json:"Metadata"`
}
