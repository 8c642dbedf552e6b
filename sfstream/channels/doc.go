// Package channels makes the channels of an org's own: PushTopics (/topic/…), generic channels
// (/u/…) and custom channels of change events and platform events (/data/…__chn, /event/…__chn), so
// that a program can say what it wants to receive and not only follow what an admin has set up.
//
//	topics := channels.NewPushTopics(client)
//	topic, err := topics.Declare(ctx, channels.PushTopic{
//		Name:  "OpenCases",
//		Query: "SELECT Id, CaseNumber, Status FROM Case WHERE IsClosed = false",
//	})
//	…
//	err = client.Subscribe(ctx, topic.Channel())
//
// It works over [sfstream.Client.Do] and [sfstream.Client.Query]: with the client's login, its
// repetitions and its end. The client must be open. All methods may be called from any goroutine
// and from any number of programs at once.
//
// # Declare
//
// To declare is to say what shall be there. What is not there is made, what is there and differs is
// changed, in that alone in which it differs, and of what is there already nothing is written: ten
// replicas that start at once and say the same make one channel. A Description, Label, APIVersion and
// NotifyForFields that a declaration leaves empty stay as they are. All else is said: a PushTopic
// without Operations is of all of them, one that somebody has set inactive is active again unless it
// is declared Inactive, and a [Member] is exactly what is said: one without Filter has none.
//
// [HandlePushTopic] and [HandleSObject] declare a topic each time that a service starts, and give its
// events to a handler. [PushTopics.ForSObject] writes the query of an object's changes, with the ids
// of a record type and of the own user.
//
// # Errors
//
// What cannot be meant is refused before anything is sent, with an error that is
// [sfstream.ErrInvalidOption]. What is not there is [ErrNotFound]. Any other refusal of Salesforce
// is a *[sfstream.ServerError]. Errors name the channel. They do not show a query's values and no
// payload, which may be personal data; the ServerError in them is what Salesforce has said, whole.
package channels
