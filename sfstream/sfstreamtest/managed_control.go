package sfstreamtest

import "context"

type managedRequest struct {
	DeveloperName       string `json:"developerName" about:"!a letter, then letters, digits and _"`
	TopicName           string `json:"topicName" about:"!such as /event/Order__e"`
	DefaultReplay       string `json:"defaultReplay" about:"LATEST (the default) or EARLIEST: where it begins while nothing is committed"`
	ErrorRecoveryReplay string `json:"errorRecoveryReplay" about:"LATEST (the default) or EARLIEST: where it begins if what is committed is not retained"`
	State               string `json:"state" about:"RUN (the default) or STOP"`
}

type managedReply struct {
	ID string `json:"id"` // 18 characters
}

func (s *Server) controlManaged(_ context.Context, req managedRequest) (reply managedReply, err error) {
	if err := s.checkChannel(req.TopicName); err != nil {
		return reply, err
	}
	reply.ID, err = s.DefineManagedSubscription(ManagedSubscription{
		DeveloperName: req.DeveloperName, TopicName: req.TopicName, State: req.State,
		DefaultReplay: req.DefaultReplay, ErrorRecoveryReplay: req.ErrorRecoveryReplay,
	})
	return reply, err
}

type removeManagedRequest struct {
	DeveloperName string `json:"developerName" about:"!or the id"`
}

func (s *Server) controlRemoveManaged(_ context.Context, req removeManagedRequest) (none, error) {
	return none{}, s.RemoveManagedSubscription(req.DeveloperName)
}

type managedListReply struct {
	Subscriptions []ManagedSubscription `json:"subscriptions"`
}

func (s *Server) controlManagedList(context.Context, none) (managedListReply, error) {
	return managedListReply{append([]ManagedSubscription{}, s.ManagedSubscriptions()...)}, nil
}
