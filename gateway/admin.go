package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"

	"github.com/shoal-storage/shoal/internal/directory"
	"github.com/shoal-storage/shoal/internal/iam"
	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/sigv4"
)

// adminPrefix is where the admin API stands, as in MinIO, whose tools speak it, and
// keysPrefix is where what is about master keys does.
const (
	adminPrefix = "admin/v3/"
	keysPrefix  = "kms/v1/"
)

// maxAdminDocument bounds what one admin call sends.
const maxAdminDocument = 1 << 20

// adminCall is one row of the table of the admin API.
type adminCall struct {
	method, path string // below the prefix, or from keysPrefix on
	name         string // in metrics and in the log
	action       string // IAM action, or own
	handle       handler
	by           by
}

// by says who carries out a call.
type by bool

const (
	alone  by = false // this gateway, which tells something, or does it and no more
	agreed by = true  // all have to agree: it changes the control plane
)

// healCall is the path of the call that heals everything, and begins those that heal a
// part.
const healCall = "heal/"

// own is the action of a call that also is about what is the sender's own: its handler
// asks what he may do.
const own = "own"

// adminCalls is the table of the admin API.
func adminCalls() []adminCall {
	return []adminCall{
		{"GET", "info", "AdminInfo", "admin:ServerInfo", (*Server).adminInfo, alone},
		{"GET", "accountinfo", "AdminAccountInfo", own, (*Server).accountInfo, alone},
		{"GET", "trace", "AdminTrace", "admin:ServerTrace", (*Server).traceCalls, alone},

		{"POST", "service", "AdminService", own, (*Server).serviceAction, alone},
		{"GET", "storageinfo", "AdminStorageInfo", "admin:StorageInfo", (*Server).storageInfo, alone},
		{"POST", "background-heal/status", "AdminHealStatus", "admin:Heal", (*Server).healStatus, alone},
		{"POST", healCall, "AdminHeal", "admin:Heal", (*Server).heal, alone},
		{"GET", "pools/list", "AdminListPools", "admin:ServerInfo", (*Server).listPools, alone},
		{"GET", "pools/status", "AdminPoolStatus", "admin:ServerInfo", (*Server).poolStatus, alone},
		{"GET", "rebalance/status", "AdminRebalanceStatus", "admin:ServerInfo", (*Server).balanceStatus, alone},
		{"POST", "pools/decommission", "AdminDrainPool", "admin:Decommission", (*Server).drainPool, agreed},
		{"POST", "pools/cancel", "AdminKeepPool", "admin:Decommission", (*Server).keepPool, agreed},
		{"GET", "top/locks", "AdminTopLocks", "admin:TopLocksInfo", (*Server).topLocks, alone},
		{"POST", "force-unlock", "AdminForceUnlock", "admin:ForceUnlock", notOffered(locksEnd), alone},
		{"GET", "metrics", "AdminLiveMetrics", "admin:ServerInfo", (*Server).liveMetrics, alone},
		{"POST", "speedtest", "AdminSpeedTest", "admin:OBDInfo", (*Server).speedTest, alone},
		{"POST", "speedtest/object", "AdminObjectSpeedTest", "admin:OBDInfo", (*Server).speedTest, alone},
		{"POST", "speedtest/drive", "AdminDriveSpeedTest", "admin:OBDInfo", (*Server).driveSpeedTest, alone},
		{"POST", devNullCall, "AdminClientSpeedTest", "admin:OBDInfo", (*Server).devNull, alone},
		{"POST", devNullCall + "/extratime", "AdminClientSpeedTestTime", "admin:OBDInfo", (*Server).noExtraTime, alone},
		{"GET", "log", "AdminLog", "admin:ConsoleLog", (*Server).watchLogs, alone},
		{"GET", "get-config-kv", "AdminGetConfig", "admin:ConfigUpdate", (*Server).getConfig, alone},
		{"GET", "help-config-kv", "AdminHelpConfig", "admin:ConfigUpdate", (*Server).helpConfig, alone},
		{"GET", "config", "AdminExportConfig", "admin:ConfigUpdate", (*Server).exportConfig, alone},
		{"PUT", "set-config-kv", "AdminSetConfig", "admin:ConfigUpdate", (*Server).setConfig, agreed},
		{"DELETE", "del-config-kv", "AdminRemoveConfig", "admin:ConfigUpdate", (*Server).resetConfig, agreed},
		{"PUT", "config", "AdminImportConfig", "admin:ConfigUpdate", (*Server).importConfig, agreed},
		{"GET", "list-config-history-kv", "AdminConfigHistory", "admin:ConfigUpdate", (*Server).configHistory, alone},
		{"PUT", "restore-config-history-kv", "AdminRestoreConfig", "admin:ConfigUpdate", (*Server).restoreConfig, agreed},
		{"DELETE", "clear-config-history-kv", "AdminClearConfigHistory", "admin:ConfigUpdate", (*Server).clearConfigHistory, agreed},

		{"GET", "export-iam", "AdminExportIAM", "admin:ExportIAM", (*Server).exportUsers, alone},
		{"PUT", "import-iam", "AdminImportIAM", "admin:ImportIAM", (*Server).importUsers, agreed},
		{"PUT", "import-iam-v2", "AdminImportIAMv2", "admin:ImportIAM", (*Server).importUsers, agreed},

		{"GET", "export-bucket-metadata", "AdminExportBuckets", "admin:ExportBucketMetadata", (*Server).exportBuckets, alone},
		{"PUT", "import-bucket-metadata", "AdminImportBuckets", "admin:ImportBucketMetadata", (*Server).importBuckets, agreed},

		{"GET", "datausageinfo", "AdminDataUsageInfo", "admin:DataUsageInfo", (*Server).dataUsageInfo, alone},
		{"PUT", "set-bucket-quota", "AdminSetBucketQuota", "admin:SetBucketQuota", (*Server).setBucketQuota, agreed},
		{"GET", "get-bucket-quota", "AdminGetBucketQuota", "admin:GetBucketQuota", (*Server).getBucketQuota, alone},

		{"PUT", "add-user", "AdminAddUser", "admin:CreateUser", (*Server).addUser, agreed},
		{"GET", "list-users", "AdminListUsers", "admin:ListUsers", (*Server).listUsers, alone},
		{"GET", "user-info", "AdminUserInfo", own, (*Server).userInfo, alone},
		{"DELETE", "remove-user", "AdminRemoveUser", "admin:DeleteUser", (*Server).removeUser, agreed},
		{"PUT", "set-user-status", "AdminSetUserStatus", "admin:EnableUser", (*Server).setUserStatus, agreed},

		{"GET", "get-user-limits", "AdminGetUserLimits", own, (*Server).getUserLimits, alone},
		{"PUT", "set-user-limits", "AdminSetUserLimits", "admin:SetUserLimits", (*Server).setUserLimits, agreed},
		{"PUT", "set-user-posix", "AdminSetUserPOSIX", "admin:SetUserPOSIX", (*Server).setUserPOSIX, agreed},

		{"PUT", "update-group-members", "AdminUpdateGroupMembers", "admin:AddUserToGroup", (*Server).updateGroupMembers, agreed},
		{"GET", "groups", "AdminListGroups", "admin:ListGroups", (*Server).listGroups, alone},
		{"GET", "group", "AdminGroupInfo", "admin:GetGroup", (*Server).groupInfo, alone},
		{"PUT", "set-group-status", "AdminSetGroupStatus", "admin:EnableGroup", (*Server).setGroupStatus, agreed},

		{"PUT", "add-canned-policy", "AdminAddPolicy", "admin:CreatePolicy", (*Server).addPolicy, agreed},
		{"GET", "list-canned-policies", "AdminListPolicies", "admin:ListUserPolicies", (*Server).listPolicies, alone},
		{"GET", "info-canned-policy", "AdminPolicyInfo", "admin:GetPolicy", (*Server).policyInfo, alone},
		{"DELETE", "remove-canned-policy", "AdminRemovePolicy", "admin:DeletePolicy", (*Server).removePolicy, agreed},
		{"POST", "idp/builtin/policy/attach", "AdminAttachPolicy", "admin:AttachUserOrGroupPolicy", (*Server).attachPolicy, agreed},
		{"POST", "idp/builtin/policy/detach", "AdminDetachPolicy", "admin:AttachUserOrGroupPolicy", (*Server).detachPolicy, agreed},
		{"POST", "idp/ldap/policy/attach", "AdminAttachLDAPPolicy", "admin:AttachUserOrGroupPolicy", (*Server).attachLDAPPolicy, agreed},
		{"POST", "idp/ldap/policy/detach", "AdminDetachLDAPPolicy", "admin:AttachUserOrGroupPolicy", (*Server).detachLDAPPolicy, agreed},
		{"GET", "idp/ldap/policy-entities", "AdminLDAPPolicyEntities", "admin:ListUserPolicies", (*Server).ldapPolicyEntities, alone},
		{"GET", "idp/ldap/list-access-keys", "AdminListPersonsAccessKeys", own, (*Server).listPersonsAccessKeys, alone},
		{"GET", "idp/ldap/list-access-keys-bulk", "AdminListLDAPAccessKeys", own, (*Server).listLDAPAccessKeys, alone},
		{"GET", "idp/openid/list-access-keys-bulk", "AdminListOpenIDAccessKeys", own, (*Server).listOpenIDAccessKeys, alone},
		{"PUT", "idp/ldap/add-service-account", "AdminAddLDAPServiceAccount", own, (*Server).addLDAPAccount, agreed},
		{"GET", idpCall, "AdminIdentityProviders", "admin:ConfigUpdate", (*Server).identityProviders, alone},
		{"PUT", idpCall, "AdminAddIdentityProvider", "admin:ConfigUpdate", (*Server).setProvider, agreed},
		{"POST", idpCall, "AdminUpdateIdentityProvider", "admin:ConfigUpdate", (*Server).setProvider, agreed},
		{"DELETE", idpCall, "AdminRemoveIdentityProvider", "admin:ConfigUpdate", (*Server).removeProvider, agreed},
		{"PUT", "set-user-or-group-policy", "AdminSetPolicy", "admin:AttachUserOrGroupPolicy", (*Server).setPolicies, agreed},
		{"GET", "idp/builtin/policy-entities", "AdminPolicyEntities", "admin:ListUserPolicies", (*Server).policyEntities, alone},

		{"PUT", "add-service-account", "AdminAddServiceAccount", own, (*Server).addAccount, agreed},
		{"POST", "update-service-account", "AdminUpdateServiceAccount", own, (*Server).updateAccount, agreed},
		{"GET", "info-service-account", "AdminServiceAccountInfo", own, (*Server).serviceAccountInfo, alone},
		{"GET", "info-access-key", "AdminAccessKeyInfo", own, (*Server).serviceAccountInfo, alone},
		{"POST", revokeCall, "AdminRevokeTokens", own, (*Server).revokeTokens, agreed},
		{"GET", "temporary-account-info", "AdminTemporaryAccountInfo", own, (*Server).noListedSessions, alone},
		{"GET", "list-service-accounts", "AdminListServiceAccounts", own, (*Server).listAccounts, alone},
		{"GET", "list-access-keys-bulk", "AdminListAccessKeys", own, (*Server).listAccessKeys, alone},
		{"DELETE", "delete-service-account", "AdminDeleteServiceAccount", own, (*Server).removeAccount, agreed},

		{"GET", keysPrefix + "key/list", "AdminListMasterKeys", "admin:KMSKeyStatus", (*Server).listMasterKeys, alone},
		{"GET", keysPrefix + "key/status", "AdminMasterKeyStatus", "admin:KMSKeyStatus", (*Server).masterKeyStatus, alone},
		{"POST", keysPrefix + "key/create", "AdminCreateMasterKey", "admin:KMSCreateKey", (*Server).createMasterKey, agreed},
	}
}

// adminOperation is a row as others of the gateway have it.
type adminOperation struct {
	operation
	by by
}

// newAdminTable returns the rows by method and path. A change may have to wait until a
// gateway that does not answer is fenced, which takes longer than other quick operations.
func newAdminTable(calls []adminCall) map[string]*adminOperation {
	t := make(map[string]*adminOperation)
	for _, c := range calls {
		op := operation{name: c.name, level: service, method: c.method, action: c.action, class: listing, handle: c.handle}
		if strings.HasPrefix(c.path, "import-") {
			op.class = long // it has as many changes as there is to import
		}
		if c.path == devNullCall {
			op.class = data
		}
		t[c.method+" "+c.path] = &adminOperation{op, c.by}
	}
	return t
}

// isAdmin reports whether the request is for the admin API.
func (r *request) isAdmin() bool {
	below, _, _ := strings.Cut(r.key, "/")
	return r.host == "" && r.bucket == ownBucket && (below == "admin" || below == "kms")
}

// prepareAdmin is prepare for the admin API. Only requests count whose body is signed
// too: some bring documents that are not sealed.
func (s *Server) prepareAdmin(r *request) error {
	r.admin = true
	call := strings.TrimPrefix(r.key, adminPrefix)
	for _, prefix := range []string{healCall, idpCall, revokeCall} { // of whatever bucket, and provider
		if below, ok := strings.CutPrefix(call, prefix); ok {
			call, r.below = prefix, below
		}
	}
	r.bucket, r.key = "", ""
	row := s.admin[r.method+" "+call]
	known := s.Directory != nil && row != nil
	r.op = &operation{name: "AdminUnknown", level: service, action: own}
	if known {
		r.op, r.agreed = &row.operation, row.by == agreed
	}
	if err := s.authenticate(r); err != nil {
		return err
	}
	payload, err := sigv4.ParsePayload(r.auth.PayloadHash)
	if err != nil || r.identity.Anonymous() || r.auth.Presigned || payload.Mode != sigv4.Signed {
		return errAccessDenied
	}
	if !known {
		return unknownCall(call)
	}
	if r.op.action != own {
		if err := s.allow(r, r.op.action, object.Ref{}); err != nil {
			return err
		}
	}
	return s.admit(r)
}

// unknownCall says that a call is not known, and why, where it is one of MinIO's that
// administrators look for.
func unknownCall(call string) error {
	system, _, _ := strings.Cut(call, "/")
	why, known := map[string]string{
		"update": noUpdate, "site-replication": noReplication, "set-remote-target": noReplication, "list-remote-targets": noReplication,
		"remove-remote-target": noReplication, "replication": noReplication, "rebalance": selfBalanced, "tier": noTiers, "tier-stats": noTiers,
		"start-job": noJobs, "list-jobs": noJobs, "status-job": noJobs, "describe-job": noJobs, "cancel-job": noJobs,
		"speedtest": noSpeedTest, "healthinfo": noDiagnosis, "obdinfo": noDiagnosis, "profile": noDiagnosis, "inspect-data": noDiagnosis,
	}[system]
	if !known {
		return errAdminUnknown
	}
	return errNotImplemented.with(why)
}

// allowOn returns nil if the sender may do an action to what is a user's: to what is
// his own if no policy denies it, to what is another's if one allows it. What is the
// root user's is his alone.
func (s *Server) allowOn(r *request, action, user string) error {
	req := &iam.Request{Identity: r.identity, Action: action, Values: &conditionValues{s: s, r: r}}
	said := r.identity.Decide(req)
	switch {
	case user == s.Directory.Root() && !r.identity.Root:
	case said == iam.Allow, said == iam.Abstain && user == r.identity.User():
		return nil
	}
	return errAccessDenied
}

// answerAdminError answers as the admin API does.
func (r *request) answerAdminError(e *s3Error) {
	document, err := json.Marshal(map[string]string{
		"Code": e.code, "Message": e.message, "Resource": r.path, "RequestId": r.id, "HostId": r.id,
	})
	if err != nil {
		return // strings can be encoded
	}
	r.set("Content-Type", "application/json")
	r.ctx.Response.SetBodyRaw(document)
}

// The codes of the admin API, as MinIO's tools know them.
var (
	errAdminUnknown    = &s3Error{code: "XMinioAdminVersionMismatch", status: 426, message: "This 'admin' API is not supported by server in 'mode-shoal'"}
	errAdminInvalid    = &s3Error{code: "XMinioAdminInvalidArgument", status: 400, message: "Invalid arguments specified."}
	errAdminConfig     = &s3Error{code: "XMinioAdminConfigBadJSON", status: 400, message: "JSON configuration provided is of incorrect format"}
	errAdminNoUser     = &s3Error{code: "XMinioAdminNoSuchUser", status: 404, message: "The specified user does not exist."}
	errAdminNoGroup    = &s3Error{code: "XMinioAdminNoSuchGroup", status: 404, message: "The specified group does not exist."}
	errAdminNoPolicy   = &s3Error{code: "XMinioAdminNoSuchPolicy", status: 404, message: "The canned policy does not exist."}
	errAdminNoAccount  = &s3Error{code: "XMinioAdminServiceAccountNotFound", status: 404, message: "The specified service account is not found."}
	errAdminTaken      = &s3Error{code: "XMinioAdminInvalidAccessKey", status: 400, message: "The access key is in use already."}
	errAdminNotEmpty   = &s3Error{code: "XMinioAdminGroupNotEmpty", status: 400, message: "The specified group is not empty - cannot remove it."}
	errAdminInUse      = &s3Error{code: "XMinioAdminPolicyInUse", status: 400, message: "The policy is attached to users or groups."}
	errAdminNoChange   = &s3Error{code: "XMinioAdminPolicyChangeAlreadyApplied", status: 400, message: "The specified policy change is already in effect."}
	errAdminNoRecords  = &s3Error{code: "NotImplemented", status: 501, message: "This server joins no others (--single-gateway), so it keeps no users."}
	errAdminNotAllowed = &s3Error{code: "AccessDenied", status: 403, message: "A service account that a policy bounds cannot make or change service accounts."}
)

// fromDirectory turns an error of the Directory into what the client is told, nil if it
// is none of those that it can do something about.
func fromDirectory(err error) *s3Error {
	for cause, e := range map[error]*s3Error{
		directory.ErrNoUser: errAdminNoUser, directory.ErrNoGroup: errAdminNoGroup, directory.ErrNoPolicy: errAdminNoPolicy,
		directory.ErrNoAccount: errAdminNoAccount, directory.ErrTaken: errAdminTaken, directory.ErrNotEmpty: errAdminNotEmpty,
		directory.ErrInUse: errAdminInUse, directory.ErrNoChange: errAdminNoChange, directory.ErrNoRecords: errAdminNoRecords,
	} {
		if errors.Is(err, cause) {
			return e.because(err)
		}
	}
	if errors.Is(err, directory.ErrBadPolicy) {
		return errSTSBadPolicy.with(strings.TrimPrefix(err.Error(), directory.ErrBadPolicy.Error()+": ")).because(err)
	}
	if errors.Is(err, directory.ErrInvalid) {
		return errAdminInvalid.with(strings.TrimPrefix(err.Error(), directory.ErrInvalid.Error()+": ")).because(err)
	}
	return nil
}

// adminBody returns what the request has sent.
func (s *Server) adminBody(r *request) ([]byte, error) { return s.adminBodyOf(r, maxAdminDocument) }

// adminBodyOf is adminBody for up to so many bytes.
func (s *Server) adminBodyOf(r *request, limit int64) ([]byte, error) {
	b, err := s.openBody(r, bodyOptions{plain: true, limit: limit})
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(b, limit+1))
	if int64(len(text)) > limit {
		return nil, errMessageTooLong
	}
	return text, err
}

// readSealed reads a document that is sealed under the secret of the sender.
func (s *Server) readSealed(r *request, v any) error {
	sealed, err := s.adminBody(r)
	if err != nil {
		return err
	}
	text, err := s.Sealer.Open(r.secret, sealed)
	if err != nil {
		return errAdminConfig.with("The document is not encrypted under the secret key of the request.").because(err)
	}
	return decodeAdmin(text, v)
}

func decodeAdmin(text []byte, v any) error {
	if err := json.Unmarshal(text, v); err != nil {
		return errAdminConfig.because(err)
	}
	return nil
}

// answerSealed answers with a document sealed under the secret of the sender.
func (s *Server) answerSealed(r *request, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return errInternal.because(err)
	}
	return s.answerSealedText(r, text)
}

// answerSealedText is answerSealed for what is text already.
func (s *Server) answerSealedText(r *request, text []byte) error {
	sealed, err := s.Sealer.Seal(r.secret, text)
	if err != nil {
		return errInternal.because(err)
	}
	r.set("Content-Type", "application/octet-stream")
	r.ctx.Response.SetBodyRaw(sealed)
	return nil
}

func (r *request) answerJSON(v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return errInternal.because(err)
	}
	r.set("Content-Type", "application/json")
	r.ctx.Response.SetBodyRaw(text)
	return nil
}

// statusOf returns a status as the API has it.
func statusOf(enabled bool) string {
	if enabled {
		return "enabled"
	}
	return "disabled"
}

// parseStatus is its inverse.
func parseStatus(status string) (enabled bool, err error) {
	switch status {
	case "enabled":
		return true, nil
	case "disabled":
		return false, nil
	}
	return false, errAdminInvalid.with("The status must be enabled or disabled.")
}

// rawPolicy returns the text of a policy within a document, "" if there is none.
func rawPolicy(raw json.RawMessage) string {
	if raw = bytes.TrimSpace(raw); bytes.Equal(raw, []byte("null")) || bytes.Equal(raw, []byte("{}")) {
		return ""
	}
	return string(raw)
}
