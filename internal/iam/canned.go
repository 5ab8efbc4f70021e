package iam

// Canned returns the texts of the policies that are there without being made, by the
// names under which MinIO's users know them.
func Canned() map[string]string {
	return map[string]string{
		"consoleAdmin": cannedOf(`{"Effect":"Allow","Action":["admin:*"]},` + onAll(`"s3:*"`)),
		"readwrite":    cannedOf(onAll(`"s3:*"`)),
		"readonly":     cannedOf(onAll(`"s3:GetBucketLocation","s3:GetObject"`)),
		"writeonly":    cannedOf(onAll(`"s3:PutObject"`)),
		"diagnostics": cannedOf(`{"Effect":"Allow","Action":["admin:Prometheus","admin:Profiling","admin:ServerTrace",` +
			`"admin:ConsoleLog","admin:ServerInfo","admin:TopLocksInfo","admin:OBDInfo","admin:BandwidthMonitor"]}`),
	}
}

func cannedOf(statements string) string {
	return `{"Version":"2012-10-17","Statement":[` + statements + `]}`
}

// onAll is a statement that allows actions on every bucket and object.
func onAll(actions string) string {
	return `{"Effect":"Allow","Action":[` + actions + `],"Resource":["` + ARNPrefix + `*"]}`
}
