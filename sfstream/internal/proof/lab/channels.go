package lab

import "strings"

// The channels of a lab's org. Topic, a PushTopic, and Generic, a channel of generic events, are
// there with NewStreaming.
const (
	Orders     = "/event/Order__e"
	Invoices   = "/event/Invoice__e"
	Undated    = "/event/Undated__e" // its events have no CreatedDate
	Accounts   = "/data/AccountChangeEvent"
	AllChanges = "/data/ChangeEvents"
	Topic      = "/topic/LabTopic"
	Generic    = "/u/lab"
)

// Define gives the org a platform event that has a number.
func (l *Lab) Define(channel string) {
	l.T.Helper()
	l.Must(l.DefineEvent(channel, Schema(strings.TrimPrefix(channel, "/event/"))))
}

// Schema is the schema of an event that has a number.
func Schema(name string, more ...string) string {
	fields := append([]string{
		`{"name":"CreatedDate","type":"long","doc":"CreatedDate:DateTime"}`,
		`{"name":"CreatedById","type":"string","doc":"CreatedBy:EntityId"}`,
		`{"name":"N__c","type":["null","double"],"default":null}`,
	}, more...)
	return `{"type":"record","name":"` + name + `","namespace":"com.sforce.eventbus","fields":[` + strings.Join(fields, ",") + `]}`
}
