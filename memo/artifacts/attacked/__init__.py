"""Files of what attacks found."""
