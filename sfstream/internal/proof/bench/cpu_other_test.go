//go:build !unix

package bench

import "time"

// cpuTime is not known here: benchmarks report no CPU.
func cpuTime() time.Duration { return 0 }
