package sink

// An item is a record on its way, with its place in the order of its channel.
type item struct {
	record  Record
	filled  bool // the record has its value
	barrier bool
	channel *ordered
}

// ordered is the order of a channel's records across lanes: runs of barriers and runs of others
// take turns, and a run begins when all of the one before is settled. Within a run the lanes keep
// the order of each key, and all barriers of a channel have one key.
type ordered struct {
	barriers bool    // the present run is one of barriers
	open     int     // of the present run, how many are not settled
	waiting  []*item // later runs
}

// add reports whether a record may go to its lane now; if not, it waits.
func (o *ordered) add(i *item) bool {
	if o.open == 0 {
		o.barriers = i.barrier
	} else if len(o.waiting) > 0 || o.barriers != i.barrier {
		o.waiting = append(o.waiting, i)
		return false
	}
	o.open++
	return true
}

// settle says that a record is acked, and returns those that may go to their lanes now.
func (o *ordered) settle() []*item {
	if o.open--; o.open > 0 || len(o.waiting) == 0 {
		return nil
	}
	o.barriers = o.waiting[0].barrier
	for o.open < len(o.waiting) && o.waiting[o.open].barrier == o.barriers {
		o.open++
	}
	next := o.waiting[:o.open:o.open]
	o.waiting = o.waiting[o.open:]
	return next
}
