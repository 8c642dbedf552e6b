package sfstream

import "time"

// settled is how long a session must have lasted to count as a success where nothing was received
// on it: less than what proxies grant an idle stream.
const settled = 10 * time.Second

// pace is how long to wait before the next request to a server that answers at once, so that it is
// not stormed. rush is how many answers in a row have come at once; the first two are nothing
// special.
func pace(rush int) time.Duration {
	if rush < 2 {
		return 0
	}
	return min(100*time.Millisecond<<min(rush-2, 10), 5*time.Second)
}
