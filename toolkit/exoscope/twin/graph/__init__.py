"""Microsoft Graph v1.0, as much of it as exoscope's subject needs; what is not known here is refused as "not modelled"."""
