package sfstreamtest

import "time"

// controlWorld injects the faults of replay ids, groups, instances and proxies. known is false if
// none of them has the name in req.Fault.
func (s *Server) controlWorld(req faultRequest, n int, on bool) (known bool, err error) {
	switch req.Fault {
	case "LeaveInstance":
		err = s.LeaveInstance(req.Kind)
	case "RedirectToLogin":
		s.RedirectToLogin(n)
	case "ProxyPage":
		s.ProxyPage(n, req.Status, req.Body)
	case "ResetReplay":
		err = s.ResetReplay(req.Channel, req.Replay, req.Accepted)
	case "LagKeepalive":
		s.LagKeepalive(req.Channel, n)
	case "HoldKeepaliveID":
		s.HoldKeepaliveID(on)
	case "PassPositions":
		err = s.PassPositions(req.Channel, n)
	case "SeekBacklog":
		s.SeekBacklog(req.Channel, n, time.Duration(req.Seconds)*time.Second)
	case "CutGroups":
		s.CutGroups(n)
	case "BreakGroups":
		if req.Group != nil {
			s.BreakGroups(*req.Group)
		}
	case "RepeatReplayID":
		s.RepeatReplayID(req.Channel, n)
	default:
		return false, nil
	}
	return true, err
}
