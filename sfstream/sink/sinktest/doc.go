// Package sinktest tests a [sink.Sink] on its engine:
//
//	func TestSink(t *testing.T) {
//		sinktest.Run(t, func(t *testing.T) sinktest.Queue {
//			return sinktest.Queue{Sink: …, Read: …, Cut: …}
//		})
//	}
package sinktest
