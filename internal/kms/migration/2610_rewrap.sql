-- What wraps the key of a vault in the store, as keys.Key.Fingerprint names it; absent or different: it has to be looked at.
CREATE TABLE kms_vault (
	vault_uuid TEXT PRIMARY KEY,
	wrapped_by TEXT NOT NULL
);

-- The key under which equal contents of an account's vaults get equal ids. It outlives the root key that it was derived from.
CREATE TABLE kms_domain (
	account TEXT PRIMARY KEY,
	wrapped BLOB NOT NULL -- by the root key
);
