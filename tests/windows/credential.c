/* What another program finds in the Credential Manager, and leaves there, as secret-tool does on Linux:
 * credential.exe get TARGET, or set TARGET with the secret on standard input. */
#include <windows.h>
#include <wincred.h>
#include <stdio.h>
#include <string.h>

int wmain(int count, wchar_t **words)
{
    static char secret[CRED_MAX_CREDENTIAL_BLOB_SIZE];
    CREDENTIALW *found, made = {.Type = CRED_TYPE_GENERIC, .Persist = CRED_PERSIST_ENTERPRISE};
    if (count != 3)
        return 2;
    if (!wcscmp(words[1], L"get")) {
        if (!CredReadW(words[2], CRED_TYPE_GENERIC, 0, &found))
            return 1;
        fwrite(found->CredentialBlob, 1, found->CredentialBlobSize, stdout);
        return 0;
    }
    made.TargetName = words[2];
    made.UserName = words[2];
    made.CredentialBlob = (BYTE *)secret;
    made.CredentialBlobSize = fread(secret, 1, sizeof secret, stdin);
    return !CredWriteW(&made, 0);
}
