package admin

import "time"

// PeerTraffic is what has gone over the connections that a node makes to another one, since it was
// started.
type PeerTraffic struct {
	Online    bool
	Connected int64         // how often the connection for calls was made
	Age       time.Duration // of that; 0: it was never made
	Sent      int64         // bytes, with those of contents
	Received  int64         // the same
	Asked     int64         // calls and pings
	Answered  int64         // of those
	Waiting   int           // of those, not sent yet
	Shards    int           // that are on their way
	Silence   time.Duration // since the answer to the last ping; 0: there was none
	RoundTrip time.Duration // of that ping
	Longest   time.Duration // of all of them
}

// rpcSample is what is told of connections from a node to another one, or of several.
type rpcSample struct {
	Collected     time.Time             `json:"collectedAt"`
	Connected     int                   `json:"connected"`
	Disconnected  int                   `json:"disconnected"`
	Reconnected   int64                 `json:"reconnectCount"`
	Shards        int                   `json:"outgoingStreams"`
	Sent          int64                 `json:"outgoingBytes"`
	Received      int64                 `json:"incomingBytes"`
	Asked         int64                 `json:"outgoingMessages"`
	Answered      int64                 `json:"incomingMessages"`
	Waiting       int                   `json:"outQueue"`
	LastPong      time.Time             `json:"lastPongTime,omitzero"`
	LastPing      float64               `json:"lastPingMS"`
	LongestPing   float64               `json:"maxPingDurMS"`
	LastConnected time.Time             `json:"lastConnectTime,omitzero"`
	To            map[string]*rpcSample `json:"byDestination,omitempty"`
}

// sample is the traffic as it was at a time of this gateway's clock.
func (t PeerTraffic) sample(at time.Time) *rpcSample {
	s := &rpcSample{
		Collected: at, Disconnected: 1, Reconnected: max(0, t.Connected-1), Shards: t.Shards, Sent: t.Sent, Received: t.Received,
		Asked: t.Asked, Answered: t.Answered, Waiting: t.Waiting, LastPing: milliseconds(t.RoundTrip), LongestPing: milliseconds(t.Longest),
	}
	if t.Online {
		s.Connected, s.Disconnected = 1, 0
	}
	if t.Silence > 0 {
		s.LastPong = at.Add(-t.Silence)
	}
	if t.Age > 0 {
		s.LastConnected = at.Add(-t.Age)
	}
	return s
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// add adds connections of others, to whichever node.
func (s *rpcSample) add(o *rpcSample) {
	s.Connected += o.Connected
	s.Disconnected += o.Disconnected
	s.Reconnected += o.Reconnected
	s.Shards += o.Shards
	s.Sent += o.Sent
	s.Received += o.Received
	s.Asked += o.Asked
	s.Answered += o.Answered
	s.Waiting += o.Waiting
	if o.LastPong.After(s.LastPong) {
		s.LastPong, s.LastPing = o.LastPong, o.LastPing
	}
	s.LongestPing = max(s.LongestPing, o.LongestPing)
	if o.LastConnected.After(s.LastConnected) {
		s.LastConnected = o.LastConnected
	}
}

// to returns what is told of the connections to a node.
func (s *rpcSample) to(node string) *rpcSample {
	if s.To[node] == nil {
		s.To[node] = &rpcSample{Collected: s.Collected}
	}
	return s.To[node]
}

// addPeers tells what goes between nodes, as they know it: each counts the connections that it
// makes.
func (now *sample) addPeers(at time.Time, known []Activity) {
	all := &rpcSample{Collected: at, To: make(map[string]*rpcSample)}
	now.Aggregated.RPC = all
	for _, a := range known {
		from := &rpcSample{Collected: at, To: make(map[string]*rpcSample)}
		now.host(a.Node).RPC = from
		for node, t := range a.Peers {
			s := t.sample(at)
			for _, sum := range []*rpcSample{all, all.to(node), from, from.to(node)} {
				sum.add(s)
			}
		}
	}
}
