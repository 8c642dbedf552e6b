package sfstreamtest

import (
	"fmt"
	"net/http"
	"strings"
)

// restError is an error of the REST API.
type restError struct {
	status  int
	Message string   `json:"message"`
	Code    string   `json:"errorCode"`
	Fields  []string `json:"fields,omitempty"`
}

func (e *restError) Error() string { return e.Code + ": " + e.Message }

func notFound() error {
	return &restError{http.StatusNotFound, "The requested resource does not exist", "NOT_FOUND", nil}
}

func badField(message, field string) error {
	return &restError{http.StatusBadRequest, message, "INVALID_FIELD", []string{field}}
}

func notAllowed(method, allowed string) error {
	return &restError{http.StatusMethodNotAllowed, "HTTP Method '" + method + "' not allowed. Allowed are " + allowed, "METHOD_NOT_ALLOWED", nil}
}

func notWritable(field string) error {
	return &restError{http.StatusBadRequest, "Unable to create/update fields: " + field + ". Please check the security settings of this " +
		"field and verify that it is read/write for your profile or permission set.", "INVALID_FIELD_FOR_INSERT_UPDATE", []string{field}}
}

func noColumn(name, object string) error {
	return &restError{http.StatusBadRequest, fmt.Sprintf("No such column '%s' on sobject of type %s", name, object), "INVALID_FIELD", nil}
}

// tooLong is the error about a text that has more characters than its field.
func tooLong(label, value string, most int, field string) error {
	return &restError{http.StatusBadRequest, fmt.Sprintf("%s: data value too large: %s (max length=%d)", label, value, most), "STRING_TOO_LONG", []string{field}}
}

// badChoice is the error about a value that is none of those that its field can have.
func badChoice(label, value, field string) error {
	return &restError{http.StatusBadRequest, label + ": bad value for restricted picklist field: " + value,
		"INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", []string{field}}
}

// duplicate is the error about a value that the record with an id has already.
func duplicate(field, id string) error {
	return &restError{http.StatusBadRequest, "duplicate value found: " + field + " duplicates value on record with id: " + id,
		"DUPLICATE_VALUE", []string{field}}
}

// integrity is the error about a value that does not fit the rest of the org.
func integrity(field, format string, args ...any) error {
	return &restError{http.StatusBadRequest, fmt.Sprintf(format, args...), "FIELD_INTEGRITY_EXCEPTION", []string{field}}
}

// limitExceeded is the error about an org that has as many of something as it can have.
func limitExceeded(what string, most int) error {
	return &restError{http.StatusBadRequest, fmt.Sprintf("The org has reached its limit of %s: %d", what, most), "LIMIT_EXCEEDED", []string{}}
}

// checkID fails unless an id of a record of an object can be one.
func checkID(object, id string) error {
	if len(id) != 15 && len(id) != 18 {
		return &restError{http.StatusBadRequest, object + " ID: id value of incorrect type: " + id, "MALFORMED_ID", []string{"Id"}}
	}
	return nil
}

// inOwnWords takes the prefix of this package off an error that goes to clients.
func inOwnWords(err error) string { return strings.TrimPrefix(err.Error(), "sfstreamtest: ") }
