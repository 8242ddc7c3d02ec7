#!/usr/bin/env bash
# An agent's day by curl alone, against a running `make up`: each request, the answer it must get, and what it says.
#
#   DUNLIN_URL       where the API is; else http://127.0.0.1:8000
#   DUNLIN_KEY_FILE  a file with an admin's key; else .data/api-key, where `make up` keeps its own
#
# Status 1 at the first answer that is not the expected one. Needs bash, curl and python3. It may be run again and again.
set -euo pipefail

url="${DUNLIN_URL:-http://127.0.0.1:8000}"
key_file="${DUNLIN_KEY_FILE:-.data/api-key}"
run="$(date +%s)-$$"
requests=0
answer=""
key=""

[[ -r "$key_file" ]] || { echo "There is no key in $key_file: is 'make up' running? DUNLIN_KEY_FILE says another place." >&2; exit 1; }
admin="$(<"$key_file")"

say() { printf '\n%s\n' "$*"; }

# json WHERE: a part of the last answer, such as `items.0.id`; fails where there is none.
json() {
    printf '%s' "$answer" | python3 -c '
import json, sys
found = json.load(sys.stdin)
for part in sys.argv[1].split("."):
    found = found[int(part) if isinstance(found, list) else part]
print(found)' "$1"
}

# money: the last answer's amount as people read it; here all is in EUR, which has cents.
money() { printf '%d.%02d %s' "$(($(json amount) / 100))" "$(($(json amount) % 100))" "$(json currency)"; }

# call STATUS METHOD PATH [BODY]: the answer is in $answer; any other status ends the day. A key is never an argument
# of curl, where other users of the machine could read it.
call() {
    local expected="$1" method="$2" path="$3" body="${4:-}" status
    local -a how=(--silent --show-error --max-time 60 --request "$method" --write-out '\n%{http_code}')
    requests=$((requests + 1))
    [[ "$method" != POST ]] || how+=(--header "Idempotency-Key: day-$run-$requests")
    [[ -z "$body" ]] || how+=(--header 'Content-Type: application/json' --data-binary "$body")
    answer="$(curl "${how[@]}" --header @<(printf 'Authorization: Bearer %s\n' "$key") "$url/v1$path")" || {
        echo "$method $path: no answer from $url" >&2
        exit 1
    }
    status="${answer##*$'\n'}"
    answer="${answer%$'\n'*}"
    printf '  %s  %-6s %s%s\n' "$status" "$method" "$path" "$([[ "$status" == "$expected" && "$status" -ge 400 ]] && echo '   (as it should be)' || true)"
    if [[ "$status" != "$expected" ]]; then
        printf '%s %s: expected %s, got %s:\n%s\n' "$method" "$path" "$expected" "$status" "$answer" >&2
        exit 1
    fi
}

# days_after INSTANT N: that many days later, as the API takes it.
days_after() {
    python3 -c '
import sys
from datetime import datetime, timedelta
start = datetime.fromisoformat(sys.argv[1].replace("Z", "+00:00"))
print((start + timedelta(days=int(sys.argv[2]))).isoformat())' "$1" "$2"
}

say "Before the doors open: an agent's key, a lead's key, and something to sell."
key="$admin"
call 201 POST /api-keys "{\"name\": \"agent-$run\", \"role\": \"agent\"}"
agent="$(json key)" agent_key_id="$(json id)"
call 201 POST /api-keys "{\"name\": \"lead-$run\", \"role\": \"lead\"}"
lead="$(json key)" lead_key_id="$(json id)"
key="$lead"
call 201 POST /products "{\"code\": \"coffee-$run\", \"name\": \"Coffee\"}"
call 201 POST /prices "{\"product_id\": \"$(json id)\", \"code\": \"monthly\", \"currency\": \"EUR\", \"unit_amount\": 1900, \"interval\": {\"count\": 1, \"unit\": \"month\"}}"
price="$(json id)"

say "A new customer is on the phone; a card comes from the gateway's form."
key="$agent"
call 201 POST /customers "{\"email\": \"ada-$run@example.com\", \"first_name\": \"Ada\", \"last_name\": \"Lovelace\", \"currency\": \"EUR\", \"time_zone\": \"Europe/Berlin\"}"
customer="$(json id)"
call 201 POST "/customers/$customer/payment-methods" '{"token": "tok_ok_visa"}'

say "Found by the email address, and everything on one page."
call 200 GET "/search?q=ada-$run@example.com"
[[ "$(json items.0.customer_id)" == "$customer" ]] || { echo "the search found somebody else: $answer" >&2; exit 1; }
call 200 GET "/customers/$customer/overview"

say "A note, and a task that reminds tomorrow."
call 201 POST "/customers/$customer/notes" '{"text": "Prefers to be called after six."}'
call 201 POST /tasks "{\"title\": \"Ask how the coffee was\", \"customer_id\": \"$customer\", \"assignee\": \"agent@example.com\", \"remind_at\": \"$(days_after "$(date -u +%Y-%m-%dT%H:%M:%SZ)" 1)\"}"
task="$(json id)"

say "A subscription in test mode: its clock is its own. What will it cost, and when?"
call 201 POST /subscriptions "{\"customer_id\": \"$customer\", \"price_id\": \"$price\", \"test_mode\": true}"
subscription="$(json id)"
call 200 GET "/subscriptions/$subscription/forecast?cycles=3"
echo "       next: $(json items.0.at) $(json items.0.text)"

say "Billed three days later from now on, and next month left out; then two months go by."
call 200 GET "/subscriptions/$subscription"
call 200 POST "/subscriptions/$subscription/change-date" "{\"next_due_at\": \"$(days_after "$(json next_due_at)" 3)\", \"reason\": \"paid on the third\"}"
call 200 POST "/subscriptions/$subscription/skip" '{"cycles": 1, "reason": "on holiday"}'
call 200 POST "/subscriptions/$subscription/advance" '{"months": 2}'
echo "       now next due: $(json next_due_at)"

say "The last payment goes back: undone at the gateway, as it is not settled yet."
call 200 GET "/invoices?subscription_id=$subscription&status=paid"
call 201 POST "/invoices/$(json items.0.id)/give-back" '{"reason": "sent back unopened"}'
echo "       a $(json kind) of $(money), $(json status)"
[[ "$(json kind) $(json status)" == "void succeeded" ]] || { echo "that is not a void that succeeded: $answer" >&2; exit 1; }

say "An apology: only a lead gives money away, the agent redeems it."
voucher="{\"amount\": 500, \"currency\": \"EUR\", \"customer_id\": \"$customer\", \"reason\": \"late parcel\", \"test_mode\": true}"
call 403 POST /vouchers "$voucher"
key="$lead"
call 201 POST /vouchers "$voucher"
code="$(json code)"
key="$agent"
call 201 POST "/vouchers/$code/redeem" "{\"subscription_id\": \"$subscription\"}"

say "What an agent may not: block somebody, or remove a customer. A lead removes one who was never billed, no other."
call 403 POST /blacklist "{\"kind\": \"email\", \"value\": \"mallory-$run@example.com\", \"reason\": \"three lost disputes\"}"
call 201 POST /customers "{\"email\": \"typo-$run@example.com\", \"currency\": \"EUR\"}"
empty="$(json id)"
call 403 DELETE "/customers/$empty"
key="$lead"
call 200 DELETE "/customers/$empty"
call 404 GET "/customers/$empty"
call 409 DELETE "/customers/$customer"

say "The task is done, and the day is over: both keys end."
key="$agent"
call 200 POST "/tasks/$task/close" '{"outcome": "She liked it"}'
call 200 GET "/customers/$customer/overview"
key="$admin"
call 204 DELETE "/api-keys/$agent_key_id"
call 204 DELETE "/api-keys/$lead_key_id"
key="$agent"
call 401 GET "/customers/$customer"

say "$requests requests, each answered as expected. The customer's page: $url/v1/customers/$customer/overview"
