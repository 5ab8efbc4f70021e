package test

import "testing"

// TestAGatewayThatIsStoppedLeavesTheOthersServing has mc do it. The exit code says whether
// to start it again.
func TestAGatewayThatIsStoppedLeavesTheOthersServing(t *testing.T) {
	a := administer(t)
	a.mc.run(t, "mb", "g0/bucket")
	a.mc.run(t, "admin", "service", "stop", "g1")
	<-a.fleet[1].exited
	for _, alias := range []string{"g0/bucket", "g2/bucket"} {
		a.mc.run(t, "ls", alias)
	}
	a.mc.run(t, "--json", "admin", "service", "restart", "g2")
	a.fleet[2].code = 5 // the end of the test looks at it
	<-a.fleet[2].exited
	a.mc.run(t, "ls", "g0/bucket")
}
