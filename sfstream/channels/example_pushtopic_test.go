package channels_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"strings"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/channels"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// A second Declare of the same writes nothing; one of another query changes the topic, at once for
// those who follow it.
func ExamplePushTopics_Declare() {
	org, client := openOrg()
	defer org.Close()
	defer client.Close()
	ctx := context.Background()
	topics := channels.NewPushTopics(client)
	for _, query := range []string{
		"SELECT Id, Subject FROM Case WHERE Priority = 'High'",
		"SELECT Id, Subject FROM Case WHERE Priority = 'High'",
		"SELECT Id, Subject, Status FROM Case WHERE Priority = 'High'",
	} {
		topic, err := topics.Declare(ctx, channels.PushTopic{Name: "UrgentCases", Query: query})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(topic.Channel(), topic.Query)
	}
	_, err := topics.Declare(ctx, channels.PushTopic{Name: "UrgentCases", Query: "SELECT Subject FROM Case"})
	fmt.Println(err)
	// Output:
	// /topic/UrgentCases SELECT Id, Subject FROM Case WHERE Priority = 'High'
	// /topic/UrgentCases SELECT Id, Subject FROM Case WHERE Priority = 'High'
	// /topic/UrgentCases SELECT Id, Subject, Status FROM Case WHERE Priority = 'High'
	// sfstream: invalid option: PushTopic UrgentCases: its Query does not select Id, which Salesforce wants
}

// The query of an object's changes: the org is asked for the fields and the ids.
func ExamplePushTopics_ForSObject() {
	org, client := openOrg()
	defer org.Close()
	defer client.Close()
	if _, err := org.DefineRecordType("Contact", "Student"); err != nil {
		log.Fatal(err)
	}
	topics := channels.NewPushTopics(client)
	topic, err := topics.ForSObject(context.Background(), "Contact", channels.RecordType("Student"), channels.ExcludeCurrentUser())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(topic.Name)
	fmt.Println(topic.Query)
	_, err = topics.ForSObject(context.Background(), "Contact", channels.Fields("Emial"))
	fmt.Println(err)
	// Output:
	// ContactStudent
	// SELECT Id, Name, LastModifiedById, LastModifiedDate FROM Contact WHERE RecordTypeId = '012000000000001AAA' AND LastModifiedById != '005000000000001AAA'
	// channels: PushTopic Contact: Fields: not found: Contact.Emial; is it Email?
}

// A service that writes to the records of which it is told, and does not hear of that.
func ExampleHandleSObject() {
	org, client := openOrg()
	defer org.Close()
	defer client.Close()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()

	mux := sfstream.NewMux()
	channels.HandleSObject(mux, "Case", func(ctx context.Context, msg *sfstream.Message) error {
		fields, err := msg.Fields()
		if err != nil {
			return err
		}
		fmt.Println(msg.Type, fields["CaseNumber"])
		body := strings.NewReader(`{"Status": "Working"}`)
		req, err := http.NewRequestWithContext(ctx, http.MethodPatch, fmt.Sprint("sobjects/Case/", fields["Id"]), body)
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/json")
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		resp.Body.Close()
		if fields["CaseNumber"] == "2" {
			stop()
		}
		return nil
	}, channels.ExcludeCurrentUser())
	mux.OnStart(func(context.Context, *sfstream.Client) error { // somebody else makes cases
		var errs []error
		for n := range 2 {
			_, err := org.Change(sfstreamtest.Change{
				Object: "Case", Type: "CREATE", RecordIDs: []string{fmt.Sprintf("50000000000000%dAAA", n+1)},
				CommitUser: "005000000000002AAA", Set: map[string]any{"CaseNumber": fmt.Sprint(n + 1)},
			})
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	})
	if err := client.Serve(ctx, mux); err != nil {
		log.Fatal(err)
	}
	// Output:
	// created 1
	// created 2
}
