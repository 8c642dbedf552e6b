package lab

// Endings are the ways in which streams end that mean nothing but "again".
var Endings = []string{
	"OK",
	"UNAVAILABLE",
	"UNAVAILABLE: This application is down for maintenance",
	"UNAVAILABLE: HTTP/2 server reset the stream",
	"INTERNAL",
	"INTERNAL service.unavailable",
	"UNAVAILABLE service.unavailable",
	"service.protection.triggered",
	"service.protection.stream.limit.triggered",
	"concurrent.client.limit.exceeded",
	"topic.api.unavailable",
	"subscription.fetch.replay.repeated",
	"subscription.fetch.overflow",
	"subscription.internal.error",
	"subscription.limit.exceeded",
	"INTERNAL made.up.code: a text of next year",
	"made.up.code", // status UNKNOWN
	"CANCELLED", "UNKNOWN", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "ABORTED",
}
