package near

import "testing"

func TestTheWordThatIsMeantIsFound(t *testing.T) {
	words := []string{"Name", "Email", "MailingCity", "Student_Number__c"}
	for _, row := range []struct {
		name  string
		slips int
		want  string
	}{
		{"Nmae", 1, "Name"},
		{"email", 1, "Email"},
		{"Emial", 1, "Email"},
		{"Student_Number", 0, "Student_Number__c"},
		{"StudentNumber__c", 1, "Student_Number__c"},
		{"MailingTown", 1, ""},
		{"MailingCty", 0, "MailingCity"},
		{"Nm", 1, ""},
		{"Nm", 2, "Name"},
		{"", 0, ""},
		{"Phone", 1, ""},
	} {
		if got := Word(row.name, words, row.slips); got != row.want {
			t.Errorf("%s with %d slips: %q, want %q", row.name, row.slips, got, row.want)
		}
	}
}
