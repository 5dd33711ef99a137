"""The sentence of every code in Entrepot's events, dead letters and errors. `app.sentences.sentence` fills them in."""

from collections.abc import Mapping
from typing import Final

# The actions of users by command type: their names in the API, the command line, the pages and sentences.
ACTIONS: Final[Mapping[str, str]] = {
    "PauseJob": "pause",
    "ResumeJob": "resume",
    "RunJob": "run",
    "KillJob": "kill",
    "RestoreJob": "restore",
    "RenameJob": "rename",
    "ConfigureJob": "configure",
    "EditCursor": "edit_cursor",
}

JOBS: Final = {
    "always_blackout": "the blackout windows leave no time to run; shorten or remove one",
    "bad_bytes": "invalid number of bytes; expected 0 to {max:,}",
    "bad_counts": "invalid count; expected 0 to {max:,}",
    "bad_cron": "invalid[ {part} in the] cron expression {cron!r}; expected five fields, for example `0 3 * * *`, "
    "or one of @hourly, @daily, @weekly, @monthly, @yearly",
    "bad_description": "invalid description; expected at most {max:,} characters, no control or bidirectional ones",
    "bad_interval": "invalid interval; expected {min:,} to {max:,} seconds",
    "bad_name": "invalid name; expected 1 to {max} characters, not only blanks, no control or bidirectional ones",
    "bad_number": "invalid run, report or version; expected 0 to {max:,}",
    "bad_retry": "invalid retry policy; every value must be 1 to {max:,} seconds",
    "bad_time": "invalid time in the year {year}; check the clock of the sender",
    "bad_time_of_day": "invalid time of day {time!r}; expected HH:MM, for example 22:30",
    "bad_word": "invalid id, code or provider; expected at most {max} characters",
    "cron_step_too_large": "the step of {term} is larger than the field {part} and has no effect: the job would run at "
    "{times}; for a longer period use an interval, such as 90m",
    "cron_never_matches": "the cron expression {cron!r} never matches; correct its day or month",
    "cron_too_long": "invalid cron expression; expected at most {max} characters",
    "job_exists": "the job {job_id} already exists; use another id",
    "json_too_large": "the JSON has {bytes:,} bytes; at most {max:,} are allowed",
    "no_such_job": "no job {job_id}",
    "not_a_json_object": "expected a JSON object, at most {max_depth} levels deep",
    "not_allowed": "{command} is not allowed while the job is {status}[; allowed: {allowed}]",
    "not_due": "not due at {at}[; {due} is due at {due_at}]",
    "report_out_of_order": "report {report:,} is out of order; expected report {expected:,}",
    "revision_mismatch": "the job was modified: it is at revision {revision}, not {expected}; read it again",
    "stale_run": "run {run:,} is over; the job is in run {current:,}",
    "too_many_days": "too many days; expected at most {max}, or none for every day",
    "too_many_blackout_windows": "too many blackout windows; at most {max} are allowed",
    "unknown_cadence_kind": "unknown schedule kind {kind!r}; expected one of: {kinds}",
    "unknown_rules": "unknown rules version {rules}; this service supports {supported}",
    "unknown_time_zone": "unknown time zone {time_zone!r}; expected an IANA name, for example Europe/Berlin",
    "unknown_weekday": "unknown day {day!r}; expected one of: {days}",
    "until_in_the_past": "the pause would have ended at {until}; pass a later time",
}

RUNS: Final = {
    "bad_batch": "the connector returned an invalid batch, and nothing of it was stored: {cause}; report it to the "
    "connector's maintainer",
    "bad_configuration": "invalid configuration at `{pointer}` ({problem}); edit the job",
    "master_key_missing": "master key {key} is missing, so the secrets of the job can't be opened; restore its file, "
    "or enter the secrets again",
    "master_key_unreadable": "the file of the master key can't be read, so the secrets of the job can't be opened; the "
    "log of the runner names the cause",
    "pushed": "the data of this job comes from an upload request, and none is open; send the file again",
    "report_refused": "a report of this run was refused; the job resumes from the cursor before it: {cause}",
    "secret_unreadable": "the secret[ at `{pointer}`] is damaged, or was copied from another job; enter it again",
    "still_hanging": "the connector still hangs in an earlier run that was given up; this ends once its source "
    "responds, or when the runner is restarted",
    "too_many_slow": "too many sources are slow at the same time, and this one has been slow for longest; the job "
    "resumes from its cursor",
    "too_slow": "the source is too slow: {bytes:,} bytes and no complete batch in {seconds:,} seconds; the job resumes "
    "from its cursor",
    "unexpected": "the connector failed with {error}; the runner's log has the details",
    "unknown_job_type": "this service has no connector for {provider}/{job_type}; upgrade it, or delete the job",
    "unknown_lane": "unknown lane {lane!r}; expected one of: {lanes}",
    "upload_disconnected": "the client disconnected; send the file again with the same Idempotency-Key to resume it",
    "upload_stalled": "no data arrived for {seconds} seconds; send the file again with the same Idempotency-Key to "
    "resume it",
    "upload_interrupted": "the upload was interrupted; send the file again with the same Idempotency-Key to resume it",
    "wrong_line_count": "the payload has {lines:,} lines for {messages:,} messages",
    "wrong_timestamp_count": "{bytes:,} bytes of timestamps for {messages:,} messages",
    "timestamp_out_of_range": "a timestamp is outside of the years 1 to 9999",
}

RECORDS: Final = {
    "bad_definition_id": "invalid definition id; expected 1 to {max} printable characters",
    "bad_imbalance": "wrong imbalance {found:,}; the counts of the event give {expected:,}",
    "bad_job_id": "invalid job id; expected 1 to {max} printable characters",
    "bad_list": "too many commands are listed; at most {max} are allowed",
    "bad_message_index": "invalid index of a batch's first message; expected 0 to {max:,}",
    "bad_params": "too many or too long parameters; at most {max} with {max_characters:,} characters are allowed",
    "bad_record_time": "invalid record timestamp ({micros} microseconds since 1970)",
    "bad_seconds": "invalid delay; expected 0 to {max:,} seconds",
    "bad_seq": "invalid event number {seq} in the year {year}",
    "bad_stream": "invalid stream name; expected 1 to {max} printable characters",
    "batch_id_too_long": "the batch id is too long; at most {max:,} bytes are allowed",
    "command_too_large": "the command has {bytes:,} bytes; at most {max:,} are allowed",
    "impossible_event": "no command leads to this {event}: {cause}",
    "malformed_command": "not a valid command: {cause}",
    "malformed_event": "not a valid event: {cause}",
    "malformed_message": "not a valid message: {cause}",
    "message_id_too_long": "the message id has {characters:,} characters; at most {max:,} are allowed",
    "misplaced_command": "the record's key or partition is not that of {subject!r}",
    "misplaced_record": "the record is in another partition or under another key than its own ({subject!r})",
    "more_faults": "{more:,} more parts of the mapping failed for this record: {targets}",
    "no_record_time": "the record has no timestamp, so the time of its message is unknown; have the producer send one",
    "not_a_command": "a {schema} is not a command",
    "not_a_definition_command": "a {schema} is not a command about definitions",
    "not_a_definition_event": "a {schema} is not an event of a definition",
    "not_a_message_batch": "a {schema} is not a batch of messages",
    "not_an_access_record": "a {schema} is neither a session nor a sign-in code",
    "not_an_event": "a {schema} is not an event",
    "record_not_framed": "byte 0 is {found}; a framed record starts with 0x00",
    "record_too_short": "a record of {bytes} bytes is too short for a schema id",
    "text_too_long": "the text is too long; at most {max:,} characters are allowed",
    "too_large": "{dropped:,} messages or links were dropped: the updates of this record for one partition of "
    "identities exceed {max:,} bytes; split the record",
    "too_many_identities": "a profile has more than {max:,} identities; only the first by rank and name, and their "
    "counts, are kept; stop mapping an identity that many profiles share, or raise `max_identities`",
    "trailing_bytes": "{bytes:,} bytes are left after a {schema}",
    "unknown_schema": "unknown schema id {schema_id}; upgrade this service, or fix the producer",
    "unreadable_body": "the body is not a {schema} (version {version})",
}

VALUES: Final = {  # in messages and records; raised by mappings and by connectors
    "bad_email": "{target}: {value} is not an email address",
    "bad_phone": "{target}: {value} is not a phone number",
    "bad_text": "[{target}: ]invalid text {value}: a NUL character or half of a surrogate pair",
    "bad_timestamp": "[{target}: ][`{field}`: ]invalid timestamp {value}[; expected {formats}]",
    "bare_cr": "a bare CR is neither a line end nor quoted[, and the row extends over {lines:,} more lines]; save the "
    "file with LF line ends, or quote the value",
    "broken_encoding": "invalid text encoding at byte {byte}; check `encoding`",
    "duplicate_key": "the key {key} occurs twice in one object",
    "future_timestamp": "[{target}: ][`{field}`: ]the timestamp {value} is more than 24 hours in the future",
    "identity_too_long": "{target}: the identity {value} is too long; at most 512 bytes are allowed",
    "impossible_phone": "{target}: there is no phone number {value}: its country code, area code or length is invalid",
    "inexact_number": "{target}: the number {value} can't be represented exactly; send integers of more than 64 "
    "bits, and those of more than 53 bits with a decimal point or an exponent, as text",
    "invalid_json": "invalid JSON at character {at:,}",
    "missing_timestamp": "`{field}` is empty or missing; every record needs a timestamp",
    "not_an_object": "expected a JSON object, found {found}",
    "nul_byte": "a NUL byte at byte {byte}; check `encoding`",
    "out_of_range": "{target}: {value} is out of range",
    "phone_with_extension": "{target}: {value} has an extension; map the number without it",
    "phone_without_prefix": "{target}: {value} has neither a country code (`+43 …`) nor the prefix of national calls",
    "phone_without_region": "{target}: {value} has no country code (`+43 …`); add it, or set the `region` of the "
    "identity type",
    "record_too_large": "[in {source}, after record {first_row:,}: ]the record is larger than {max:,} bytes; split it, "
    "or remove it[{quoted:?}; if it should be shorter, a closing quote is missing near its start]"
    "[{unclosed:?}; if it should be shorter, a closing brace or quote is missing]",
    "short_phone": "{target}: {value} is a local number or that of a service, not a complete phone number",
    "too_costly": "{target}: the expressions of the mapping exceed the budget of a message, at {value}; use fewer "
    "functions of long texts",
    "too_deep": "[{target}: ]nested too deep[ (over {max} levels)]",
    "too_long": "{target}: {value} is too long",
    "too_many_values": "expected {columns:,} columns, found more than {max:,}",
    "text_after_quote": "text follows a closing quote[, and the row extends over {lines:,} more lines]; double the "
    "quotes within values, or set `escape` or `quote`",
    "unclosed_quote": "a quote is not closed within its row[, and {lines:,} more lines are read as its value]; close "
    "it, or set `quote` to an empty string if quotes have no meaning in this file",
    "wrong_column_count": "expected {columns:,} columns, found {values:,}",
    "wrong_type": "{target}: {value} has the wrong type",
}

SOURCES: Final = {
    "all_records_rejected": "none of the first {records:,} records is valid; {position}: {cause}",
    "archive": "the data is an archive ({kind}); extract it, and use the file inside, plain or with gzip or zstd",
    "bad_certificate": "the certificate of `{url}` is invalid[: {reason}]; correct it on the server[, or add its "
    "authority to the trust store of this service ({trust_store})]",
    "bad_cursor": "invalid cursor at `{pointer}`: {cause}",
    "bad_cursor_field": "invalid value ({problem})[; expected one of: {fields}]; reset the cursor to {{}}",
    "bad_redirect": "`{url}` redirects to an address that is not HTTP; correct `source`",
    "bad_url": "invalid URL; expected http:// or https://, a host and a valid port",
    "bare_cr_in_header": "the header row has bare CR line ends; save the file with LF",
    "blanks_in_array": "found {bytes:,} bytes of whitespace where an object should start; correct the file",
    "column_names_too_long": "the column names have {bytes:,} bytes as JSON; at most {max:,} are allowed",
    "compression_bomb": "{compressed:,} compressed bytes exceed {bytes:,} bytes decompressed, over {max_ratio:,} to 1 "
    "(possible decompression bomb); decompress the file first if it is intended",
    "connection_refused": "`{url}` refused the connection; check host and port, and that the server runs[; jobs don't "
    "use the proxy in {proxy}]",
    "connection_timed_out": "no connection to `{url}` in time; check host and port, and the firewalls in between[; "
    "jobs don't use the proxy in {proxy}]",
    "corrupt_compression": "the {compression} data is corrupt; replace it with an intact file",
    "cursor_before_start": "`{field}` must be absent while `byte` is 0; reset the cursor to {{}}",
    "cursor_not_editable": "the cursor of this connector can't be edited; reset it to {{}} to read from the start",
    "cursor_without_digests": "a cursor with `byte` needs `head` and `tail`; reset it to {{}}",
    "cursor_without_fields": "the cursor lacks `fields`; reset it to {{}}",
    "disconnected": "`{url}` closed the connection before the end of its response",
    "dns_failure": "the host name of `{url}` can't be resolved[ ({reason})]; check its spelling, and the name servers "
    "of this machine[; jobs don't use the proxy in {proxy}]",
    "duplicate_header": "the header row names {column!r} twice; name the columns with `fields`",
    "empty_body": "the body is empty; send a JSON object or an array of objects",
    "encrypted_content": "the data is encrypted, or a key; decrypt the file first",
    "file_not_found": "no file `{source}` in the directories that this service may read; an operator can add one with "
    "`entrepot up --files DIRECTORY` or ENTREPOT_FILE_ROOTS",
    "forbidden": "`{url}` responded with {status}[ {reason}]; grant access on the server, or correct the credentials "
    "in the URL",
    "forbidden_path": "`{source}` is outside of the directories that this service may read; an operator can add one "
    "with `entrepot up --files DIRECTORY` or ENTREPOT_FILE_ROOTS",
    "header_changed": "the header row occurs again with its columns in another order; import the files that were "
    "joined here one by one",
    "header_encoding": "the header row is not valid text in this `encoding`; correct it",
    "header_too_long": "the header row has over {bytes:,} bytes; at most {max:,} are allowed; check that this is a CSV "
    "file with line ends",
    "git_lfs_pointer": "the data is a pointer of Git LFS, not the file itself; use the address of the file, or run "
    "`git lfs pull`",
    "html_page": "the data is an HTML page, such as a sign-in form or an error; open the link in a private window to "
    "see it, and renew the link",
    "html_type": "by its Content-Type the data is an HTML page, such as a sign-in form or an error; open the link in a "
    "private window to see it; if it is right, set `format`",
    "impossible_cursor_bytes": "{bytes:,} bytes of text can't come from {source_bytes:,} bytes; reset the cursor "
    "to {{}}",
    "impossible_cursor_row": "{rows:,} records can't be in {bytes:,} bytes of text; reset the cursor to {{}}",
    "insecure_redirect": "`{url}` redirects from https to http; correct `source`",
    "json_not_csv": "the data is JSON, not CSV; if that is right, set `format` to `{format}`",
    "malformed_body": "the body is not JSON: expected {expected} at byte {byte:,}",
    "malformed_response": "`{url}` responds, but not with HTTP[: {reason}]; check scheme and port",
    "multipart_form": "the data is a multipart form; send the file itself as the body",
    "no_file_roots": "this service may not read local files; an operator can allow a directory with `entrepot up "
    "--files DIRECTORY` or ENTREPOT_FILE_ROOTS",
    "not_a_file": "`{source}` is not a regular file; correct `source`",
    "not_an_array_of_objects": "found {found!r}[ after object {after:,}], expected `{expected}` of a JSON array of "
    "objects[; to import the single object as one record, set `format` to `{format}`][; extract the array in the "
    "member {member!r} of the object]",
    "not_found": "`{url}` responded with {status}[ {reason}]; correct `source`, or put the file there",
    "nul_in_header": "the header row has a NUL byte; check `encoding`",
    "one_column": "found only one column; set `delimiter`, for example to {delimiter!r}",
    "partial_response": "`{url}` returned partial content; the import resumes at the next offset",
    "private_address": "`{host}` is a private, local or reserved address; an operator can allow it with "
    "ENTREPOT_ALLOW_PRIVATE_NETWORKS",
    "proxy_refused": "a proxy on the way to `{url}` responded with {status}[ {reason}]; jobs can't log in to proxies, "
    "so let this service reach the host directly",
    "rate_limited": "`{url}` responded with {status}[ {reason}]: rate limit",
    "record_rejected": "{position}: {cause}; correct the source, or set `on_error` to `quarantine` or `drop`",
    "sep_line_conflict": "the first line, `sep={found}`, contradicts `delimiter` {delimiter!r}; correct or omit it",
    "server_error": "`{url}` responded with {status}[ {reason}]",
    "source_changed": "the source has changed before the cursor[; its last record was continued{continued:?}]; "
    "restore it, or reset the cursor to {{}} to read it from the start",
    "source_changing": "`{source}` was changed while it was read",
    "text_after_header_quote": "text follows a closing quote in the header row; correct it, or set `escape` or `quote`",
    "timed_out": "`{url}` did not respond in time",
    "tls_failure": "no encrypted connection to `{url}`[: {reason}]; check that its port is one for https",
    "too_many_columns": "the header row has {columns:,} columns; at most {max:,} are allowed; check `delimiter`",
    "too_many_layers": "the data is compressed more than {max} times; decompress it first",
    "too_many_redirects": "`{url}` redirects more than {max} times; correct `source`",
    "trailing_text": "there is text after the `]` that closes the array; remove it",
    "truncated": "[the {compression} data is truncated][the JSON array ends early, after object {object:,}]; complete "
    "records were imported, and the import resumes when the file grows; if it is complete, replace it with an intact "
    "one",
    "unclosed_body": "the body is not JSON: the value at byte {byte:,} is never closed",
    "unclosed_header_quote": "the header row opens a quote that is never closed; close it, or set `quote` to an empty "
    "string",
    "unexpected_response": "`{url}` responded with {status}[ {reason}]; expected 200",
    "unknown_format": "unknown format; set `format`, or use a name that ends with one of: {suffixes}",
    "unknown_timestamp_field": "`{field}` is not a column; columns: {columns}[{more:?}, and {more:,} more]",
    "unreachable": "`{url}` is unreachable[: {reason}]; check the network of this machine[; jobs don't use the proxy "
    "in {proxy}]",
    "unsupported_content": "the data is {kind}, not text; export it as CSV or JSON",
    "unreadable": "can't read `{source}`: {error}",
    "unsupported_content_encoding": "`{url}` responded with the content encoding {encoding!r}; gzip and zstd are "
    "supported",
    "truncated_object": "the text ends inside an object that is larger than a record may be",
    "unsupported_sep_line": "the first line, `sep={delimiter}`, names an unsupported delimiter; expected one ASCII "
    "character other than `quote`",
    "utf_16_mark": "the text has the byte-order mark of UTF-16 or UTF-32; set `encoding` to `utf-16` or `utf-32`",
    "workbook": "the data is a workbook ({kind}); export the sheet as CSV (UTF-8)",
    "wrong_compression": "the source should be {expected}, but its first bytes show {found}; correct `compression`, or "
    "replace the file",
    "wrong_encoding": "the text is not {encoding}; set `encoding` to match, for example utf-16-le",
}

DEFINITIONS: Final = {
    "bad_expiry": "the token would be expired from the start, or expire after the year 8999; choose another time",
    "bad_key_hashes": "invalid key hashes; expected 1 to {max:,} SHA-256 hashes of 64 lower-case hexadecimal digits",
    "bad_note": "invalid note; control and bidirectional characters are not supported",
    "bad_token": "invalid name or hash of a token; a name has 1 to 80 ASCII letters, digits, `.`, `_`, `@` or `-`",
    "busy": "{rebuild} is in progress; promote or discard it first",
    "conflict": "the rules conflict with other definitions[ at `{at}`]: {cause}[{more:?}, and {more:,} more]",
    "exists": "the id is already in use: {status}; use another id",
    "forgets_the_future": "{at} is after the time of the command; pass an earlier time",
    "invalid_body": "invalid rules[ at `{at}`]: {cause}[{more:?}, and {more:,} more]",
    "no_draft": "there is no draft; save one first",
    "last_admin": "this is the last admin token that does not expire; create another one first",
    "no_such_definition": "no definition {definition!r}",
    "no_such_forgetting": "no forgetting {forgetting!r}",
    "no_such_rebuild": "no rebuild {rebuild!r}",
    "no_such_token": "no token {token!r}",
    "not_ready": "the rebuild is not ready; wait until it is built, and read its report",
    "not_under_way": "it has already ended: {status}",
    "outdated": "other rules were applied in the meantime; start a rebuild with the active rules",
    "report_too_large": "the report is too large; at most {max:,} bytes are allowed",
    "token_exists": "this token already exists",
    "too_many_forgettings": "at most {max:,} persons can be forgotten at a time; retry later",
    "too_many_linked": "a person has too many identities; at most {max:,} are forgotten at a time",
    "too_many_tokens": "too many tokens; at most {max:,} are allowed: revoke those that are not in use",
    "too_much": "all definitions together are too large; discard drafts, or shorten some definitions",
    "version_mismatch": "modified concurrently: the version is {version}, not {expected}; read it again",
}

BODIES: Final = {  # of mappings, identity rules and rebuilds
    "attribute_conflict": "attribute {attribute!r} is {form} in stream {stream!r}, and {other_form} in stream "
    "{other_stream!r}; use the same type and merge rule",
    "bad_attribute_name": "invalid attribute name {name!r}; expected printable characters, without leading or trailing "
    "blanks",
    "bad_constant": "{value} is not a valid {type} ({fault})",
    "bad_kind_name": "invalid kind {name!r}; expected 1 to 32 characters of a-z, 0-9 and _, starting with a letter",
    "bad_kind_title": "invalid title {title!r}; control and bidirectional characters are not supported",
    "chained_comparison": "at character {position}: comparisons can't be chained; combine them with `and`",
    "conflicting_definition": "{definition}[ at `{at}`]: {cause}",
    "duplicate_name": "the name {name!r} is used twice",
    "expression_character": "at character {position}: unexpected {character!r}",
    "expression_double_quotes": "at character {position}: use single quotes for text, and backticks for a name",
    "expression_number": "at character {position}: the number is out of range",
    "expression_too_deep": "at character {position}: nested too deep (over {max} levels)",
    "expression_too_large": "at character {position}: the expression has over {max} parts",
    "expression_too_long": "the expression has over {max:,} characters",
    "expression_unclosed": "at character {position}: missing closing {sign}",
    "integer_too_large": "the integer has more than 64 bits",
    "no_source": "missing source; set one of: {options}",
    "no_such_version": "{definition} has no such version",
    "not_a_list": "expected a list of {min} to {max:,} items, found {found}",
    "not_a_text": "expected a string of 1 to {max:,} characters, found {found}",
    "not_an_integer": "expected an integer from {min} to {max}, found {found}",
    "not_an_option": "expected one of: {options}; found {found}",
    "number_too_large": "the number is too large for a double",
    "region_without_phone": "a region applies to the format `phone`, not to `{format}`; set `format: phone`",
    "several_sources": "more than one source; set only one of: {options}",
    "surrogate_in_text": "a string contains half of a surrogate pair; remove it",
    "too_many_jobs": "too many jobs are excluded; at most {max:,} are allowed",
    "unexpected_token": "at character {position}: expected one of: {expected}; found {found}",
    "unknown_definition_kind": "invalid definition id {definition!r}; expected `identity` or `mapping:STREAM`",
    "unknown_function": "at character {position}: unknown function {function!r}; expected one of: {functions}",
    "unknown_identity_kind": "unknown identity kind {kind!r}[; expected one of: {kinds}]; add it to the identity rules",
    "unknown_member": "unknown member {member}; expected one of: {members}",
    "unknown_region": "unknown region {region}; expected an ISO 3166-1 code, for example AT",
    "wrong_argument_count": "at character {position}: {function} takes [{exactly}][{min} to {max}][at least "
    "{at_least}] arguments, found {found}",
}

CONFIGURATIONS: Final = {
    "appended_too_large": "the fields to append are too large; at most {max:,} bytes as JSON are allowed",
    "columns_unnamed": "without a header row, name the columns with `fields`",
    "duplicate_field_name": "`fields` names a column twice",
    "extra_forbidden": "unknown field[; expected one of: {fields}]",
    "field_names_too_long": "the names in `fields` are too long; at most {max:,} characters in total are allowed",
    "masked_value": "the value has secrets that are shown as {mask}; enter all of it again, or leave it out to keep it",
    "comment_has_other_meaning": "`comment` must differ from `delimiter`, `quote` and `escape`",
    "escape_has_other_meaning": "`escape` must differ from `delimiter` and `quote`",
    "quote_is_delimiter": "`quote` and `delimiter` must differ",
    "timestamp_field_not_in_fields": "`timestamp_field` {field!r} is not in `fields`",
    "unknown_encoding": "unknown text encoding {encoding!r}; expected, for example, utf-8, utf-16, latin-1 or cp1252",
    "unknown_timestamp_format": "unknown timestamp format {format!r}; expected one of {formats}, or an strptime format "
    "with a date and an unambiguous time: %H, or %I with %p, and %z instead of %Z",
    "url_without_slashes": "invalid URL; expected http:// or https://",
}

SENTENCES: Final[Mapping[str, str]] = {
    **RECORDS,
    **JOBS,
    **RUNS,
    **VALUES,
    **SOURCES,
    **DEFINITIONS,
    **BODIES,
    **CONFIGURATIONS,
}
