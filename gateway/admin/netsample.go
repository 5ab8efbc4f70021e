package admin

import "time"

// Traffic is what has come and gone over a network interface of the host since it was started.
type Traffic struct {
	Interface                    string
	Received, Sent               uint64 // bytes
	PacketsReceived, PacketsSent uint64
	ReceiveErrors, SendErrors    uint64
}

type netSample struct {
	Collected     time.Time `json:"collected"`
	InterfaceName string    `json:"interfaceName"`
	NetStats      netStats  `json:"netstats"`
}

type netStats struct {
	Name      string `json:"name"`
	RxBytes   uint64 `json:"rx_bytes"`
	RxPackets uint64 `json:"rx_packets"`
	RxErrors  uint64 `json:"rx_errors"`
	TxBytes   uint64 `json:"tx_bytes"`
	TxPackets uint64 `json:"tx_packets"`
	TxErrors  uint64 `json:"tx_errors"`
}

// addNet tells what the network of the gateway's host does.
func (now *sample) addNet(a *API) {
	host := now.host(a.Node)
	t, err := a.Traffic()
	if err != nil {
		now.Errors = append(now.Errors, err.Error())
		return
	}
	host.Net = &netSample{
		Collected: a.Now().UTC(), InterfaceName: t.Interface,
		NetStats: netStats{Name: t.Interface, RxBytes: t.Received, RxPackets: t.PacketsReceived, RxErrors: t.ReceiveErrors, TxBytes: t.Sent, TxPackets: t.PacketsSent, TxErrors: t.SendErrors},
	}
	now.Aggregated.Net = host.Net
}
