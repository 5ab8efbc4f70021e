package admin

import (
	"context"
	"strings"
)

// prefix is where the API stands below /minio/, as in MinIO, whose tools speak it, and keysPrefix is where what
// is about master keys does.
const (
	prefix     = "admin/v3/"
	keysPrefix = "kms/v1/"
)

// call is one row of the table of the API.
type call struct {
	method, path string // below the prefix, or from keysPrefix on
	name         string // in metrics and in the log
	action       string // IAM action, or Own
	handle       handler
	by           by
}

// handler carries out a call and sets its answer, or returns an error.
type handler func(a *API, ctx context.Context, c *Call) error

// by says who carries out a call.
type by bool

const (
	alone  by = false // this gateway, which tells something, or does it and no more
	agreed by = true  // all have to agree: it changes the control plane
)

// Own is the action of a call that also is about what is the sender's own: its handler
// asks what he may do.
const Own = "own"

// calls is the table of the API.
func calls() []call {
	return []call{
		{"GET", "info", "AdminInfo", "admin:ServerInfo", (*API).info, alone},
		{"GET", "accountinfo", "AdminAccountInfo", Own, (*API).accountInfo, alone},
		{"GET", "trace", "AdminTrace", "admin:ServerTrace", (*API).traceCalls, alone},

		{"POST", "service", "AdminService", Own, (*API).serviceAction, alone},
		{"GET", "storageinfo", "AdminStorageInfo", "admin:StorageInfo", (*API).storageInfo, alone},
		{"POST", "background-heal/status", "AdminHealStatus", "admin:Heal", (*API).healStatus, alone},
		{"POST", healCall, "AdminHeal", "admin:Heal", (*API).heal, alone},
		{"GET", "pools/list", "AdminListPools", "admin:ServerInfo", (*API).listPools, alone},
		{"GET", "pools/status", "AdminPoolStatus", "admin:ServerInfo", (*API).poolStatus, alone},
		{"GET", "rebalance/status", "AdminRebalanceStatus", "admin:ServerInfo", (*API).balanceStatus, alone},
		{"POST", "pools/decommission", "AdminDrainPool", "admin:Decommission", (*API).drainPool, agreed},
		{"POST", "pools/cancel", "AdminKeepPool", "admin:Decommission", (*API).keepPool, agreed},
		{"GET", "top/locks", "AdminTopLocks", "admin:TopLocksInfo", (*API).topLocks, alone},
		{"POST", "force-unlock", "AdminForceUnlock", "admin:ForceUnlock", notOffered(locksEnd), alone},
		{"GET", "metrics", "AdminLiveMetrics", "admin:ServerInfo", (*API).liveMetrics, alone},
		{"POST", "speedtest", "AdminSpeedTest", "admin:OBDInfo", (*API).speedTest, alone},
		{"POST", "speedtest/object", "AdminObjectSpeedTest", "admin:OBDInfo", (*API).speedTest, alone},
		{"POST", "speedtest/drive", "AdminDriveSpeedTest", "admin:OBDInfo", (*API).driveSpeedTest, alone},
		{"POST", devNullCall, "AdminClientSpeedTest", "admin:OBDInfo", (*API).devNull, alone},
		{"POST", devNullCall + "/extratime", "AdminClientSpeedTestTime", "admin:OBDInfo", (*API).noExtraTime, alone},
		{"GET", "log", "AdminLog", "admin:ConsoleLog", (*API).watchLogs, alone},
		{"GET", "get-config-kv", "AdminGetConfig", "admin:ConfigUpdate", (*API).getConfig, alone},
		{"GET", "help-config-kv", "AdminHelpConfig", "admin:ConfigUpdate", (*API).helpConfig, alone},
		{"GET", "config", "AdminExportConfig", "admin:ConfigUpdate", (*API).exportConfig, alone},
		{"PUT", "set-config-kv", "AdminSetConfig", "admin:ConfigUpdate", (*API).setConfig, agreed},
		{"DELETE", "del-config-kv", "AdminRemoveConfig", "admin:ConfigUpdate", (*API).resetConfig, agreed},
		{"PUT", "config", "AdminImportConfig", "admin:ConfigUpdate", (*API).importConfig, agreed},
		{"GET", "list-config-history-kv", "AdminConfigHistory", "admin:ConfigUpdate", (*API).configHistory, alone},
		{"PUT", "restore-config-history-kv", "AdminRestoreConfig", "admin:ConfigUpdate", (*API).restoreConfig, agreed},
		{"DELETE", "clear-config-history-kv", "AdminClearConfigHistory", "admin:ConfigUpdate", (*API).clearConfigHistory, agreed},

		{"GET", "export-iam", "AdminExportIAM", "admin:ExportIAM", (*API).exportUsers, alone},
		{"PUT", "import-iam", "AdminImportIAM", "admin:ImportIAM", (*API).importUsers, agreed},
		{"PUT", "import-iam-v2", "AdminImportIAMv2", "admin:ImportIAM", (*API).importUsers, agreed},

		{"GET", "export-bucket-metadata", "AdminExportBuckets", "admin:ExportBucketMetadata", (*API).exportBuckets, alone},
		{"PUT", "import-bucket-metadata", "AdminImportBuckets", "admin:ImportBucketMetadata", (*API).importBuckets, agreed},

		{"GET", "datausageinfo", "AdminDataUsageInfo", "admin:DataUsageInfo", (*API).dataUsageInfo, alone},
		{"PUT", "set-bucket-quota", "AdminSetBucketQuota", "admin:SetBucketQuota", (*API).setBucketQuota, agreed},
		{"GET", "get-bucket-quota", "AdminGetBucketQuota", "admin:GetBucketQuota", (*API).getBucketQuota, alone},

		{"PUT", "add-user", "AdminAddUser", "admin:CreateUser", (*API).addUser, agreed},
		{"GET", "list-users", "AdminListUsers", "admin:ListUsers", (*API).listUsers, alone},
		{"GET", "user-info", "AdminUserInfo", Own, (*API).userInfo, alone},
		{"DELETE", "remove-user", "AdminRemoveUser", "admin:DeleteUser", (*API).removeUser, agreed},
		{"PUT", "set-user-status", "AdminSetUserStatus", "admin:EnableUser", (*API).setUserStatus, agreed},

		{"GET", "get-user-limits", "AdminGetUserLimits", Own, (*API).getUserLimits, alone},
		{"PUT", "set-user-limits", "AdminSetUserLimits", "admin:SetUserLimits", (*API).setUserLimits, agreed},
		{"PUT", "set-user-posix", "AdminSetUserPOSIX", "admin:SetUserPOSIX", (*API).setUserPOSIX, agreed},

		{"PUT", "update-group-members", "AdminUpdateGroupMembers", "admin:AddUserToGroup", (*API).updateGroupMembers, agreed},
		{"GET", "groups", "AdminListGroups", "admin:ListGroups", (*API).listGroups, alone},
		{"GET", "group", "AdminGroupInfo", "admin:GetGroup", (*API).groupInfo, alone},
		{"PUT", "set-group-status", "AdminSetGroupStatus", "admin:EnableGroup", (*API).setGroupStatus, agreed},

		{"PUT", "add-canned-policy", "AdminAddPolicy", "admin:CreatePolicy", (*API).addPolicy, agreed},
		{"GET", "list-canned-policies", "AdminListPolicies", "admin:ListUserPolicies", (*API).listPolicies, alone},
		{"GET", "info-canned-policy", "AdminPolicyInfo", "admin:GetPolicy", (*API).policyInfo, alone},
		{"DELETE", "remove-canned-policy", "AdminRemovePolicy", "admin:DeletePolicy", (*API).removePolicy, agreed},
		{"POST", "idp/builtin/policy/attach", "AdminAttachPolicy", "admin:AttachUserOrGroupPolicy", (*API).attachPolicy, agreed},
		{"POST", "idp/builtin/policy/detach", "AdminDetachPolicy", "admin:AttachUserOrGroupPolicy", (*API).detachPolicy, agreed},
		{"POST", "idp/ldap/policy/attach", "AdminAttachLDAPPolicy", "admin:AttachUserOrGroupPolicy", (*API).attachLDAPPolicy, agreed},
		{"POST", "idp/ldap/policy/detach", "AdminDetachLDAPPolicy", "admin:AttachUserOrGroupPolicy", (*API).detachLDAPPolicy, agreed},
		{"GET", "idp/ldap/policy-entities", "AdminLDAPPolicyEntities", "admin:ListUserPolicies", (*API).ldapPolicyEntities, alone},
		{"GET", "idp/ldap/list-access-keys", "AdminListPersonsAccessKeys", Own, (*API).listPersonsAccessKeys, alone},
		{"GET", "idp/ldap/list-access-keys-bulk", "AdminListLDAPAccessKeys", Own, (*API).listLDAPAccessKeys, alone},
		{"GET", "idp/openid/list-access-keys-bulk", "AdminListOpenIDAccessKeys", Own, (*API).listOpenIDAccessKeys, alone},
		{"PUT", "idp/ldap/add-service-account", "AdminAddLDAPServiceAccount", Own, (*API).addLDAPAccount, agreed},
		{"GET", idpCall, "AdminIdentityProviders", "admin:ConfigUpdate", (*API).identityProviders, alone},
		{"PUT", idpCall, "AdminAddIdentityProvider", "admin:ConfigUpdate", (*API).setProvider, agreed},
		{"POST", idpCall, "AdminUpdateIdentityProvider", "admin:ConfigUpdate", (*API).setProvider, agreed},
		{"DELETE", idpCall, "AdminRemoveIdentityProvider", "admin:ConfigUpdate", (*API).removeProvider, agreed},
		{"PUT", "set-user-or-group-policy", "AdminSetPolicy", "admin:AttachUserOrGroupPolicy", (*API).setPolicies, agreed},
		{"GET", "idp/builtin/policy-entities", "AdminPolicyEntities", "admin:ListUserPolicies", (*API).policyEntities, alone},

		{"PUT", "add-service-account", "AdminAddServiceAccount", Own, (*API).addAccount, agreed},
		{"POST", "update-service-account", "AdminUpdateServiceAccount", Own, (*API).updateAccount, agreed},
		{"GET", "info-service-account", "AdminServiceAccountInfo", Own, (*API).serviceAccountInfo, alone},
		{"GET", "info-access-key", "AdminAccessKeyInfo", Own, (*API).serviceAccountInfo, alone},
		{"POST", revokeCall, "AdminRevokeTokens", Own, (*API).revokeTokens, agreed},
		{"GET", "temporary-account-info", "AdminTemporaryAccountInfo", Own, (*API).noListedSessions, alone},
		{"GET", "list-service-accounts", "AdminListServiceAccounts", Own, (*API).listAccounts, alone},
		{"GET", "list-access-keys-bulk", "AdminListAccessKeys", Own, (*API).listAccessKeys, alone},
		{"DELETE", "delete-service-account", "AdminDeleteServiceAccount", Own, (*API).removeAccount, agreed},

		{"GET", keysPrefix + "key/list", "AdminListMasterKeys", "admin:KMSKeyStatus", (*API).listMasterKeys, alone},
		{"GET", keysPrefix + "key/status", "AdminMasterKeyStatus", "admin:KMSKeyStatus", (*API).masterKeyStatus, alone},
		{"POST", keysPrefix + "key/create", "AdminCreateMasterKey", "admin:KMSCreateKey", (*API).createMasterKey, agreed},
	}
}

// Operation is a call as the gateway needs to know it.
type Operation struct {
	Name   string // in metrics and in the log
	Action string // IAM action, or Own
	Class  Class
	Agreed bool // all gateways have to agree: it changes the control plane
	handle handler
}

// Class says how long a call may take.
type Class uint8

// The classes. A change may have to wait until a gateway that does not answer is fenced, which
// takes longer than other quick operations.
const (
	Usual Class = iota // as long as a listing
	Long               // it has as many changes as there is to import
	Data               // as long as its body makes progress
)

// newTable returns the operations by method and path.
func newTable(calls []call) map[string]*Operation {
	t := make(map[string]*Operation)
	for _, c := range calls {
		op := &Operation{Name: c.name, Action: c.action, Agreed: c.by == agreed, handle: c.handle}
		if strings.HasPrefix(c.path, "import-") {
			op.Class = Long
		}
		if c.path == devNullCall {
			op.Class = Data
		}
		t[c.method+" "+c.path] = op
	}
	return t
}

// Find returns the operation that a method and a path below /minio/ ask for, and what the path says behind that
// of the operation. The error, if there is none, says so to the client.
func (a *API) Find(method, path string) (op *Operation, below string, err error) {
	path = strings.TrimPrefix(path, prefix)
	for _, begin := range []string{healCall, idpCall, revokeCall} { // of whatever bucket, and provider
		if rest, ok := strings.CutPrefix(path, begin); ok {
			path, below = begin, rest
		}
	}
	op = a.table[method+" "+path]
	if op == nil || a.Directory == nil {
		return nil, below, unknown(path)
	}
	return op, below, nil
}

// Do carries out a call of an operation.
func (a *API) Do(ctx context.Context, op *Operation, c *Call) error { return op.handle(a, ctx, c) }

// unknown says that a call is not known, and why, where it is one of MinIO's that
// administrators look for.
func unknown(path string) error {
	system, _, _ := strings.Cut(path, "/")
	why, known := map[string]string{
		"update": noUpdate, "site-replication": noReplication, "set-remote-target": noReplication, "list-remote-targets": noReplication,
		"remove-remote-target": noReplication, "replication": noReplication, "rebalance": selfBalanced, "tier": noTiers, "tier-stats": noTiers,
		"start-job": noJobs, "list-jobs": noJobs, "status-job": noJobs, "describe-job": noJobs, "cancel-job": noJobs,
		"speedtest": noSpeedTest, "healthinfo": noDiagnosis, "obdinfo": noDiagnosis, "profile": noDiagnosis, "inspect-data": noDiagnosis,
	}[system]
	if !known {
		return errUnknown
	}
	return errNotImplemented.with(why)
}
